"""Text files that people and programs bring: text, JSON, YAML and tables, each with one reader, and limits to all.

Whatever Excel, macOS, Windows and Linux write is read: UTF-8 with and without a byte order mark, UTF-16, Windows-1252. Files that
are too large, too deeply nested or repeat themselves by references are refused in one line instead of filling the memory.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 4_000_000_000
"""Largest JSON, unpacked; a million nuclei as GeoJSON are 1 GB."""
MAX_TEXT_BYTES = 200_000_000
"""Largest table or settings file."""
MAX_YAML_VALUES = 100_000
"""Most values that settings may hold, references counted as often as they are used."""


class DocumentError(ValueError):
    """A text file that cannot be read; the message is the reason, without the file's name."""


def read_text(path: Path | str, largest: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a file in UTF-8 (with or without byte order mark), UTF-16 or Windows-1252, line ends as ``\\n``.

    Raises
    ------
    DocumentError
        If it is larger than `largest` bytes, or no text.
    OSError
        If it cannot be read.
    """
    return decode(_read(Path(path), largest)).replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes) -> str:
    """Return `data` as text: by its byte order mark, else as UTF-8, else as Windows-1252.

    Raises
    ------
    DocumentError
        If it is no text in any of them.
    """
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise DocumentError("this is no text: expected UTF-8, UTF-16 or Windows-1252; save it as UTF-8")


def read_json(path: Path | str, largest: int = MAX_BYTES) -> Any:
    """Return the JSON in a file, gzipped or not.

    Raises
    ------
    DocumentError
        If it is no JSON, cut short, too large or nested too deeply.
    OSError
        If it cannot be read.
    """
    data = _read(Path(path), largest)
    return parse_json(_unpack(data, largest) if data[:2] == b"\x1f\x8b" else data)


def parse_json(data: bytes | str) -> Any:
    """Return what JSON text holds.

    Raises
    ------
    DocumentError
        If it is no JSON, cut short, or nested too deeply.
    """
    try:
        return json.loads(decode(data) if isinstance(data, bytes) else data)
    except RecursionError:
        raise DocumentError("its JSON is nested too deeply") from None
    except DocumentError:
        raise
    except ValueError as error:
        raise DocumentError(f"no JSON, or cut short ({error})") from None


def read_yaml(path: Path | str) -> Any:
    """Return what a YAML file holds; plain values only.

    Raises
    ------
    DocumentError
        If it is no YAML, too large, nested too deeply, or grows without measure by its references; the message gives the line
        where it is known.
    OSError
        If it cannot be read.
    """
    return parse_yaml(read_text(path))


def parse_yaml(text: str) -> Any:
    """Return what YAML text holds; see :func:`read_yaml`."""
    try:
        values = yaml.safe_load(text)
        _count(values, {})
    except RecursionError:
        raise DocumentError("its YAML is nested too deeply") from None
    except DocumentError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise DocumentError(f"{line}this is no YAML ({getattr(error, 'problem', None) or error}); correct the file") from None
    return values


def _count(value: Any, known: dict[int, int]) -> int:
    """Return how many values `value` holds when its references are written out; `known`: those counted before, by identity."""
    if not isinstance(value, dict | list | set | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = MAX_YAML_VALUES + 1  # found again below itself: a loop of references
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    if known[id(value)] > MAX_YAML_VALUES:
        raise DocumentError(f"its YAML holds more than {MAX_YAML_VALUES:,} values, or refers to itself")
    return known[id(value)]


def _read(path: Path, largest: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise DocumentError(f"larger than {largest / 1e6:,.0f} MB, which is too much for this kind of file")
    return data


def _unpack(data: bytes, largest: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(largest + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DocumentError(f"gzipped, and damaged or cut short ({error})") from None
    if len(unpacked) > largest:
        raise DocumentError(f"more than {largest / 1e6:,.0f} MB when unpacked, which is too much for this kind of file")
    return unpacked
