"""Text files that people and programs bring: text, JSON, YAML and tables, each with one reader, and limits to all.

Whatever Excel, macOS, Windows and Linux write is read: UTF-8 with and without a byte order mark, UTF-16, Windows-1252. Files that
are too large, too deeply nested or repeat themselves by references are refused in one line instead of filling the memory.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from napari_sdmae.humanize import size
from napari_sdmae.text.tables import restored

MAX_BYTES = 4_000_000_000
"""Largest JSON, unpacked; a million nuclei as GeoJSON are 1 GB."""
MAX_TEXT_BYTES = 200_000_000
"""Largest table or settings file."""
MAX_YAML_VALUES = 100_000
"""Most values that settings may hold, references counted as often as they are used."""
MAX_BITS = 1024
"""Of a whole number in settings: Python refuses to print much larger ones, also in an error message."""
MAX_CELLS = 20_000_000
SEPARATORS = (",", ";", "\t", "|")
"""What may part the columns of a table."""


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


@dataclass(frozen=True)
class Table:
    """A table of text: the columns that have a name, and the cells of each row by them; surrounding blanks are left out."""

    columns: tuple[str, ...]
    rows: list[dict[str, str]]


def read_table(path: Path | str, *, header_only: bool = False) -> Table:
    """Return a table whose columns are parted by comma, semicolon, tabulator or bar.

    A first line ``sep=;`` is obeyed, empty lines are left out, cells may be quoted and then hold line ends. Rows may be shorter
    than the header, as Excel leaves out what is empty at the end. An apostrophe that guards a formula is taken off.

    Parameters
    ----------
    path
        CSV, TSV or text, in any encoding of :func:`read_text`.
    header_only
        Whether to leave out the rows.

    Raises
    ------
    DocumentError
        If it is empty, no text, too large, has a name twice in its header, or a row has more cells than the header; the message
        gives the line.
    OSError
        If it cannot be read.
    """
    try:
        text, separator = _separated(read_text(path))
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        header = [_cell(name) for name in _first(lines)]
        columns = {place: name for place, name in enumerate(header) if name}
        _refuse_same_names(list(columns.values()))
        rows = [] if header_only else list(_rows(lines, columns, len(header)))
    except StopIteration:
        raise DocumentError("the table is empty: expected a line with the names of the columns") from None
    except csv.Error as error:
        raise DocumentError(f"this is no table, or a quotation mark is not closed ({error})") from None
    return Table(tuple(columns.values()), rows)


def _separated(text: str) -> tuple[str, str]:
    """Return the text of a table and what parts its columns: as its first line says, else what parts its header most often."""
    before = text[: len(text) - len(text.lstrip("\n"))]
    first, _, rest = text[len(before) :].partition("\n")
    told = re.fullmatch(r"\"?sep=(.|\\t)\"?", first.strip(" "), re.IGNORECASE)
    if told:
        return f"{before}\n{rest}", told[1].replace("\\t", "\t")  # lines keep their numbers
    return text, max(SEPARATORS, key=lambda one: len(_first(csv.reader(io.StringIO(text, newline=""), delimiter=one))))


def _first(lines: Iterator[list[str]]) -> list[str]:
    """Return the first row with anything in it."""
    return next(row for row in lines if any(map(str.strip, row)))


def _rows(lines: Any, columns: dict[int, str], width: int) -> Iterator[dict[str, str]]:
    """Yield the cells of each row; `lines`: a reader of the csv module, `width`: cells of the header, with or without a name."""
    left = MAX_CELLS
    for row in lines:
        cells = [_cell(one) for one in row]
        if any(cells[width:]):
            found = f"line {lines.line_num} has {len(cells)} cells, the header {width}"
            raise DocumentError(f"{found}: quote cells that hold a separator")
        left -= len(columns)
        if left < 0:
            raise DocumentError(f"more than {MAX_CELLS:,} cells, which is too much for a table")
        if any(cells):
            yield {name: cells[place] if place < len(cells) else "" for place, name in columns.items()}


def _cell(text: str) -> str:
    return restored(text.strip())


def _refuse_same_names(names: list[str]) -> None:
    (name, count), *_ = Counter(names).most_common(1) or [("", 0)]
    if count > 1:
        raise DocumentError(f"{count} columns are called {name!r}: give each a name of its own")


def _count(value: Any, known: dict[int, int]) -> int:
    """Return how many values `value` holds when its references are written out; `known`: those counted before, by identity."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise DocumentError("its YAML holds a whole number of hundreds of digits")
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
        raise DocumentError(f"larger than {size(largest)}, which is too much for this kind of file")
    return data


def _unpack(data: bytes, largest: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(largest + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DocumentError(f"gzipped, and damaged or cut short ({error})") from None
    if len(unpacked) > largest:
        raise DocumentError(f"more than {size(largest)} when unpacked, which is too much for this kind of file")
    return unpacked
