"""Tables that list labelled images: which file, which label, which slide or patient, which part. No torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from napari_sdmae.data.labelled_folders import part_of
from napari_sdmae.data.labelled_sets import Item, Listing
from napari_sdmae.data.sources import DataError
from napari_sdmae.finetune_config import Part, Task
from napari_sdmae.io.images import IMAGE_SUFFIXES
from napari_sdmae.io.scale import plausible_mpp
from napari_sdmae.tables import restored

COLUMNS = {
    "file": ("file", "image", "path", "filename", "file_name", "id"),
    "mask": ("mask", "labels", "label_image", "instances"),
    "types": ("types",),
    "label": ("label", "class", "diagnosis"),
    "split": ("split", "part", "subset"),
    "mpp": ("mpp", "um_per_px", "µm/px"),
    "patient": ("patient", "patient_id", "case", "case_id"),
    "slide": ("slide", "slide_id", "wsi"),
    "group": ("group",),
}
"""What a table can tell, and the column names that say it, in small letters; the first that is there counts."""
GROUPS = ("patient", "slide", "group")
"""What is kept on one side, the strongest first."""

Row = dict[str, str]


def label_column(task: Task) -> str:
    """Return which of :data:`COLUMNS` holds the labels of a task."""
    return "label" if task == "classification" else "mask"


def find_notes(folder: Path, task: Task) -> Path | None:
    """Return the one table in `folder` that names files and tells slide, patient, group, part or scale, but no labels."""
    told = {*GROUPS, "split", "mpp"}
    fitting = [path for path in sorted(folder.glob("*.csv")) if _notes(_columns(path), told, label_column(task))]
    return fitting[0] if len(fitting) == 1 else None


def _notes(known: set[str], told: set[str], label: str) -> bool:
    return "file" in known and bool(told & known) and label not in known


def add_notes(listing: Listing, table: Path) -> Listing:
    """Add what a table tells of the images of a folder; it names them by path, or by file name or stem where that is unique."""
    rows = _by_name(read_rows(table))
    items, missing = [], 0
    for item in listing.items:
        found = [row for name in _names(item.name) if (row := rows.get(name))]
        missing += not found
        items.append(annotate(item, found[0]) if found else item)
    said = [f"{table.name} does not name {missing} of {len(items)} images"] if missing else []
    return replace(listing, items=items, warnings=[*listing.warnings, *said])


def _by_name(rows: list[Row]) -> dict[str, Row]:
    """Return the row of each path, file name and stem; short names of several rows are left out."""
    named = [(name, row) for row in rows for name in _names(row["file"].replace("\\", "/"))]
    often = Counter(name for name, _ in named)
    return {name: row for name, row in named if often[name] == 1}


def _names(path: str) -> tuple[str, ...]:
    """Return what a file may be called, each name once: its path, its name, its stem."""
    return tuple(dict.fromkeys((path, PurePosixPath(path).name, PurePosixPath(path).stem)))


def find_tables(folder: Path, task: Task) -> list[tuple[Path, Part | None]]:
    """Return the tables in `folder` that list labelled images, each with the part that its name says.

    Several tables without a part are none: which of them is meant cannot be known.
    """
    fitting = [path for path in sorted(folder.glob("*.csv")) if not path.name.startswith(".") and _fits(path, task)]
    named: list[tuple[Path, Part | None]] = [(path, part_of(path.stem)) for path in fitting]
    parts = [(path, part) for path, part in named if part is not None]
    return [*parts] or (named if len(named) == 1 else [])


def _fits(path: Path, task: Task) -> bool:
    return {"file", label_column(task)} <= _columns(path)


def _columns(path: Path) -> set[str]:
    """Return what a table tells; nothing if it is no table."""
    try:
        return set(_known(_read(path, rows=0).columns))
    except (ValueError, OSError):
        return set()


def list_tables(tables: list[tuple[Path, Part | None]], task: Task) -> Listing:
    """List the images of one table, or of several that are one part each.

    Raises
    ------
    DataError
        If a table cannot be read or lacks a column.
    """
    items = [item for path, part in tables for item in _items(path, part, task)]
    if not items:
        raise DataError(f"{tables[0][0]} lists no images")
    twice = len(items) - len({(item.path, item.part) for item in items})
    return Listing(items, warnings=[f"{twice} rows list an image a second time"] if twice else [])


def _items(path: Path, part: Part | None, task: Task) -> list[Item]:
    rows = read_rows(path)
    needed = ("file", label_column(task))
    missing = [name for name in needed if rows and name not in rows[0]]
    if missing:
        raise DataError(
            f"{path} has no column for {' and '.join(missing)}: expected "
            + "; ".join(f"{name}: {' or '.join(COLUMNS[name])}" for name in missing)
        )
    files = _Files(path.parent)
    return [_item(row, files, part, task) for row in rows]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table, with the columns of :data:`COLUMNS` by what they tell; the other columns are left out.

    Raises
    ------
    DataError
        If the file is no table.
    """
    try:
        table = _read(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as a CSV table ({error})") from error
    known = _known(table.columns)
    columns = {name: [str(value).strip() for value in table[column]] for name, column in known.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _read(path: Path, rows: int | None = None) -> pd.DataFrame:
    """Read a table whose columns are parted by comma, semicolon (as Excel does in many countries) or tabulator."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
    separator = max(",;\t", key=first.count)
    table = pd.read_csv(path, sep=separator, nrows=rows, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return table.rename(columns=restored).map(restored)


def _known(columns: Any) -> dict[str, str]:
    """Return the column that tells each thing of :data:`COLUMNS` which is told."""
    small = {str(column).strip().lower(): str(column) for column in columns}
    found = {name: next((small[word] for word in words if word in small), None) for name, words in COLUMNS.items()}
    return {name: column for name, column in found.items() if column}


def _item(row: Row, files: _Files, part: Part | None, task: Task) -> Item:
    path = files.find(row["file"])
    item = annotate(Item(path, row["file"], part), row)
    if task == "classification":
        return replace(
            item, label_name=row["label"], problem=item.problem or ("" if row["label"] else "the table gives no label")
        )
    mask = files.find(row["mask"]) if row["mask"] else None
    types = files.find(row["types"]) if row.get("types") else None
    return replace(item, labels=mask, types=types, problem=item.problem or ("" if mask else "the table names no mask"))


def annotate(item: Item, row: Row) -> Item:
    """Return `item` with the part, group and scale that a row of a table gives."""
    word = row.get("split", "")
    part = part_of(word) or item.part
    problem = f"split {word!r}: expected train, validation or test" if word and not part_of(word) else item.problem
    group = next(((kind, row[kind]) for kind in GROUPS if row.get(kind)), item.group)
    try:
        mpp = plausible_mpp(float(row["mpp"])) if row.get("mpp") else item.mpp
    except ValueError:
        mpp, problem = None, f"mpp {row['mpp']!r} is no number"
    return replace(item, part=part, group=group, mpp=mpp, problem=problem)


class _Files:
    """Finds the files of a table: as a path from the table's folder, with or without its ending or its folder.

    A name that several files have is never guessed at: an image and its mask are often called alike.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_stem: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path:
        path = self.folder / Path(name.replace("\\", "/")).expanduser()
        if path.suffix.lower() in IMAGE_SUFFIXES or path.is_file():
            return path
        called = self._index().get(path.name, [])
        there = [one for one in called if one.parent == path.parent] or called
        return there[0] if len(there) == 1 else path

    def _index(self) -> dict[str, list[Path]]:
        if self._by_stem is None:
            self._by_stem = defaultdict(list)
            for path in sorted(self.folder.rglob("*")):
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    self._by_stem[path.stem].append(path)
        return self._by_stem
