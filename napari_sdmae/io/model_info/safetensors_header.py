"""What a safetensors file holds, from its header, and whether its numbers are finite; without torch, for the viewer too.

The file begins with the length of the header (8 bytes), the header (JSON: name → dtype, shape, place), then the numbers.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_sdmae.text.documents import DocumentError, parse_json
from napari_sdmae.text.printable import shown

MAX_HEADER = 10_000_000
"""Bytes; that of an encoder with 40 blocks has 60,000."""
_CHUNK = 1 << 19

_SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
_EXPONENTS: dict[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""Whole numbers of the same size, and the bits that are all set where a number is infinite or NaN."""


class Entry(NamedTuple):
    """One tensor: dtype as safetensors names it, shape, and its first and last byte + 1 in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, Entry]:
    """Return the tensors of a safetensors file by name.

    Raises
    ------
    ValueError
        If it has no such header, or one that does not describe the file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER, size - 8):
                raise DocumentError(f"its header would have {length:,} bytes")
            header = parse_json(file.read(length))
        entries = {name: _entry(name, told, 8 + length) for name, told in header.items() if name != "__metadata__"}
        _check_places(entries, 8 + length, size)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error if isinstance(error, DocumentError) else "empty, cut short or something else"
        raise ValueError(f"{path} is not a readable safetensors file ({reason}); copy or convert the model again") from error
    return entries


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shape of every tensor of a safetensors file; errors as of :func:`read_header`."""
    return {name: list(entry.shape) for name, entry in read_header(path).items()}


def check_finite(path: Path) -> None:
    """Raise ValueError, with the tensor's name, if a number of a safetensors file is NaN or infinite; in one pass."""
    with path.open("rb") as file:
        for name, entry in read_header(path).items():
            if entry.dtype in _EXPONENTS and not _finite(file, entry):
                raise ValueError(not_finite(path, name))


def not_finite(path: Path, name: str) -> str:
    """Return what is wrong with weights that are NaN or infinite."""
    return f"{path}: {shown(name)} holds numbers that are NaN or infinite; take an earlier checkpoint, or copy the file again"


def _finite(file: Any, entry: Entry) -> bool:
    kind, exponent = _EXPONENTS[entry.dtype]
    file.seek(entry.start)
    for start in range(entry.start, entry.end, _CHUNK):
        words = np.frombuffer(file.read(min(_CHUNK, entry.end - start)), kind)
        if (words & exponent).max() == exponent:
            return False
    return True


def _entry(name: str, told: dict[str, Any], begin: int) -> Entry:
    shape, (start, end) = told["shape"], told["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
        raise DocumentError(f"sizes of {shown(name)} are no whole numbers")
    if told["dtype"] not in _SIZES:
        raise DocumentError(f"{shown(name)} has numbers of kind {shown(told['dtype'])}, expected {', '.join(_SIZES)}")
    if math.prod(shape) * _SIZES[told["dtype"]] != end - start:
        raise DocumentError(f"{shown(name)} does not fill its place")
    return Entry(told["dtype"], tuple(shape), begin + start, begin + end)


def _check_places(entries: dict[str, Entry], begin: int, size: int) -> None:
    """Raise `DocumentError` unless the tensors lie one behind the other and fill the file."""
    at = begin
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.start != at:
            raise DocumentError(f"{shown(name)} does not begin where the tensor before it ends")
        at = entry.end
    if at != size:
        raise DocumentError(f"the tensors take {at - begin:,} bytes, the file has {size - begin:,}")
