"""Limits for ``torch.save`` files, checked before PyTorch reads them: what would fill the memory or crash the interpreter.

PyTorch's ``weights_only`` reader runs nothing in a file and checks each tensor against its storage. It knows no limits for
depth (a dictionary key nested a million times ends the process), for compressed parts, or for ``bytearray(n)``.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path
from typing import IO, Any

from napari_sdmae.humanize import size
from napari_sdmae.moved import renamed

MAX_DEPTH = 200
MAX_STEPS = 1_000_000
"""Operations of a pickle; a ViT-g with two copies and its optimizer takes 150,000."""
MAX_PICKLE = 500_000_000
UNPACKED = 4
"""How many times the size on disk a file may take in memory."""
_SLACK = 1_000_000
_BYTES = ("builtins bytearray", "__builtin__ bytearray")
_CHANGES = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
_LEGACY_PICKLES = 5


class TooMuchError(ValueError):
    """The file would take too much memory or depth; the message is the reason, without the file's name."""


def check_torch_file(path: Path) -> None:
    """Raise `TooMuchError` if a ``torch.save`` file, zipped as today or as before PyTorch 1.6, is beyond the limits."""
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            _check_zip(file, path.stat().st_size)
        else:
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                _check_pickle(file)


def check_unpacked(taken: int, on_disk: int) -> None:
    """Raise `TooMuchError` if `taken` bytes in memory are out of proportion to those on disk."""
    if taken > UNPACKED * on_disk + _SLACK:
        raise TooMuchError(f"it has {size(on_disk)} and would take {size(taken)} when read")


def _check_zip(file: IO[bytes], size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        check_unpacked(sum(part.file_size for part in parts), size)
        for part in parts:
            if part.filename.endswith("data.pkl"):
                if part.file_size > MAX_PICKLE:
                    raise TooMuchError(f"its {part.filename[-40:]} has {part.file_size:,} bytes")
                _check_pickle(io.BytesIO(archive.read(part)))


def _check_pickle(stream: IO[bytes]) -> None:
    """Follow the depth of every value on the pickle's stack, without making any."""
    stack: list[int] = []
    known: dict[Any, int] = {}
    for step, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        if step > MAX_STEPS:
            raise TooMuchError(f"it has more than {MAX_STEPS:,} entries")
        if argument in _BYTES:
            raise TooMuchError("it asks for memory without saying what for (bytearray)")
        _step(operation, argument, stack, known)
        if stack and stack[-1] > MAX_DEPTH:
            raise TooMuchError(f"its values are nested more than {MAX_DEPTH} deep")


_MARK = -1


def _step(operation: pickletools.OpcodeInfo, argument: Any, stack: list[int], known: dict[Any, int]) -> None:
    """Do to the `stack` of depths what the operation does to the stack of values."""
    name, before, after = operation.name, operation.stack_before, operation.stack_after
    if name == "MARK":
        stack.append(_MARK)
    elif "PUT" in name:
        known[argument] = stack[-1] if stack else 0
    elif name == "MEMOIZE":
        known[len(known)] = stack[-1] if stack else 0
    elif "GET" in name:
        stack.append(known.get(argument, 0))
    else:
        taken = _take(stack, before)
        inside = 1 + max(taken[1:] if name in _CHANGES else taken, default=-1)
        depth = max(taken[0], inside) if name in _CHANGES and taken else inside
        stack += [depth] * len(after)


def _take(stack: list[int], before: list[pickletools.StackObject]) -> list[int]:
    """Take what an operation needs from the stack, in order, down to and with a mark where it needs one."""
    count = len(before)
    if pickletools.markobject in before:
        above = next((at for at in range(len(stack) - 1, -1, -1) if stack[at] == _MARK), 0)
        count = len(stack) - above + before.index(pickletools.markobject)
    taken = stack[len(stack) - count :] if count else []
    del stack[len(stack) - len(taken) :]
    return [depth for depth in taken if depth != _MARK]


__getattr__ = renamed(__name__, TooMuch="TooMuchError")
