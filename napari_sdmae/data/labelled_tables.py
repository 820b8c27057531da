"""Tables that list labelled images: which file, which label, which slide or patient, which part. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from napari_sdmae.data.labelled_folders import part_of
from napari_sdmae.data.labelled_sets import Item, Listing
from napari_sdmae.data.sources import DataError
from napari_sdmae.finetune_config import Part, Task
from napari_sdmae.io.images import IMAGE_SUFFIXES
from napari_sdmae.io.scale import plausible_mpp

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


def find_tables(folder: Path, task: Task) -> list[tuple[Path, Part | None]]:
    """Return the tables in `folder` that list labelled images, each with the part that its name says.

    Several tables without a part are none: which of them is meant cannot be known.
    """
    fitting = [path for path in sorted(folder.glob("*.csv")) if not path.name.startswith(".") and _fits(path, task)]
    named: list[tuple[Path, Part | None]] = [(path, part_of(path.stem)) for path in fitting]
    parts = [(path, part) for path, part in named if part is not None]
    return [*parts] or (named if len(named) == 1 else [])


def _fits(path: Path, task: Task) -> bool:
    try:
        known = _known(_read(path, rows=0).columns)
    except (ValueError, OSError):
        return False
    return "file" in known and label_column(task) in known


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
    return pd.read_csv(path, sep=separator, nrows=rows, dtype=str, keep_default_na=False, encoding="utf-8-sig")


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
    """Finds the files of a table: as a path from the table's folder, with or without its ending."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_stem: dict[str, Path] | None = None

    def find(self, name: str) -> Path:
        path = self.folder / Path(name.replace("\\", "/")).expanduser()
        if path.suffix.lower() in IMAGE_SUFFIXES or path.is_file():
            return path
        return self._index().get(path.name, path)

    def _index(self) -> dict[str, Path]:
        if self._by_stem is None:
            found = (path for path in sorted(self.folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES)
            self._by_stem = {path.stem: path for path in found}
        return self._by_stem
