"""Tables that list labelled images: which file, which label, which slide or patient, which part. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from napari_sdmae.config.finetune import Part, Task
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.files import NamedFiles
from napari_sdmae.data.labelled.labelled_set import ImageEntry, LayoutListing
from napari_sdmae.data.labelled.layouts.columns import Row, TableError, columns_of, read_rows, scale_of, words_for
from napari_sdmae.data.labelled.parts import part_of
from napari_sdmae.data.listing import Listing
from napari_sdmae.humanize import several
from napari_sdmae.text.spelling import ByName, near, one_form

GROUPS = ("patient", "slide", "group")
"""What is kept on one side, the strongest first."""
TABLES = (".csv", ".tsv", ".txt")
CLASS_FILES = ("classes.json", "classes.csv")
SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")


def label_column(task: Task) -> str:
    """Return which of the columns holds the labels of a task."""
    return "label" if task == "classification" else "mask"


@dataclass(frozen=True)
class Tables:
    """The tables that lie in a folder of labelled images.

    Attributes
    ----------
    lists
        Those that list images with their labels, each with the part that its name says.
    notes
        The one that names files and tells slide, patient, group, part or scale, but no labels.
    warnings
        What is there and not used, and why.
    """

    lists: list[tuple[Path, Part | None]]
    notes: Path | None
    warnings: list[str]


def find_tables(folder: Path, task: Task) -> Tables:
    """Look for tables in `folder`; of several of one kind none is used, as which is meant cannot be known."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith((".", "~$"))]
    told, said = _told([path for path in files if path.suffix.lower() in TABLES and near(path.name) not in CLASS_FILES])
    said += [f"{path.name} is not used: it is no text; save it as CSV" for path in files if path.suffix.lower() in SHEETS]
    lists = [(path, part_of(path.stem)) for path, known in told.items() if {"file", label_column(task)} <= known]
    parts = [one for one in lists if one[1] is not None]
    notes = [path for path, known in told.items() if _notes(known, label_column(task))]
    chosen = parts or (lists if len(lists) == 1 else [])
    said += [_several([path for path, _ in lists], "list images with labels")] if lists and not chosen else []
    said += [_several(notes, "tell slides, parts or scale")] if len(notes) > 1 else []
    said += [f"{path.name} is not used: the tables of the parts are" for path, _ in lists if parts and (path, None) in lists]
    said += [_unknown(path, told[path]) for path in told if path not in notes and path not in dict(lists)]
    return Tables(chosen, notes[0] if len(notes) == 1 else None, [one for one in said if one])


def _told(files: list[Path]) -> tuple[dict[Path, set[str]], list[str]]:
    """Return what each table tells, and what to say of those that are none; a text file may be anything."""
    told, said = {}, []
    for path in files:
        try:
            told[path] = columns_of(path)
        except TableError as error:
            said += [f"{path.name} is not used: {error}"] if path.suffix.lower() != ".txt" else []
    return told, said


def _unknown(path: Path, known: set[str]) -> str:
    """Return what to say of a table that tells neither labels nor slides; nothing of a text file, which may be anything."""
    if path.suffix.lower() == ".txt" and not known & {"file", *GROUPS}:
        return ""
    found = f"only {' and '.join(sorted(known))}" if known else "nothing that is known"
    return f"{path.name} is not used: its columns tell {found}; slides need the columns file and slide (or patient, group)"


def _notes(known: set[str], label: str) -> bool:
    return "file" in known and bool({*GROUPS, "split", "mpp"} & known) and label not in known


def _several(tables: list[Path], what: str) -> str:
    names = ", ".join(path.name for path in tables)
    return f"{len(tables)} tables {what}, and none is used: {names}; leave one, or name the one that is meant"


def add_notes(listing: LayoutListing, table: Path) -> LayoutListing:
    """Add what a table tells of the images of a folder; it names them by path, or by file name or stem where that is unique."""
    rows = _rows(table)
    named = ByName((name, row) for row in rows for name in _names(row["file"].replace("\\", "/")))
    found = [next((alike for name in _names(item.name) if (alike := named.all(name))), []) for item in listing.items]
    clear = [all(_same(row, alike[0]) for row in alike) for alike in found]
    items = [
        annotate(item, alike[0]) if alike and same else item
        for item, alike, same in zip(listing.items, found, clear, strict=True)
    ]
    told = sorted({what for row in rows[:1] for what in row} - {"file"})
    helped = sum(bool(alike) and same for alike, same in zip(found, clear, strict=True))
    notes = [f"{table.name} tells {' and '.join(told)} of {helped} of {len(items)} images"]
    said = _not_fitting(table.name, rows, listing.items, found, clear)
    return replace(listing, items=items, warnings=[*listing.warnings, *said], notes=[*listing.notes, *notes])


def _same(row: Row, other: Row) -> bool:
    """Tell whether two rows tell the same, whatever they call the file."""
    return row | {"file": ""} == other | {"file": ""}


def _not_fitting(table: str, rows: list[Row], items: list[ImageEntry], found: list[list[Row]], clear: list[bool]) -> list[str]:
    """Return what of a table and of the images does not fit together: images not named, or in several ways."""
    missing = sum(not alike for alike in found)
    unclear = [item.name for item, same in zip(items, clear, strict=True) if not same]
    used = {id(row) for alike in found for row in alike}
    alone = [row["file"] for row in rows if id(row) not in used]
    said = [f"{table} does not name {missing} of {len(items)} images"] if missing else []
    if unclear:
        images = several(len(unclear), "image", "images")
        said.append(f"{table} tells different things of {images}, such as {unclear[0]}: none is used")
    if alone:
        said.append(f"{table}: {several(len(alone), 'row names', 'rows name')} no image, such as {alone[0]}")
    return said


def _names(path: str) -> tuple[str, ...]:
    """Return what a file may be called, each name once: its path, its name, its stem."""
    return tuple(dict.fromkeys((path, PurePosixPath(path).name, PurePosixPath(path).stem)))


def list_tables(tables: list[tuple[Path, Part | None]], task: Task, lies: Listing | None = None) -> LayoutListing:
    """List the images of one table, or of several in one folder that are one part each.

    Of a folder that was listed already, `lies` is what was found.

    Raises
    ------
    DataError
        If a table cannot be read or lacks a column.
    """
    files = NamedFiles(tables[0][0].parent, lies)
    items = [item for path, part in tables for item in _items(path, part, task, files)]
    if not items:
        raise DataError(f"{tables[0][0]} lists no images")
    twice = len(items) - len({(item.path, item.part) for item in items})
    said = [f"{several(twice, 'row lists', 'rows list')} an image a second time"] if twice else []
    return LayoutListing(items, warnings=said, notes=[f"listed in {', '.join(path.name for path, _ in tables)}"])


def _items(path: Path, part: Part | None, task: Task, files: NamedFiles) -> list[ImageEntry]:
    needed, known = ("file", label_column(task)), _columns(path)
    missing = [name for name in needed if name not in known]
    if missing:
        raise DataError(
            f"{path} has no column for {' and '.join(missing)}: expected "
            + "; ".join(f"{name}: {' or '.join(words_for(name))}" for name in missing)
        )
    return [_item(row, files, part, task) for row in _rows(path)]


def _columns(path: Path) -> set[str]:
    try:
        return columns_of(path)
    except TableError as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None


def _rows(path: Path) -> list[Row]:
    try:
        return read_rows(path)
    except TableError as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None


def _item(row: Row, files: NamedFiles, part: Part | None, task: Task) -> ImageEntry:
    path, unclear = files.find(row["file"]) if row["file"] else (files.folder, "the table names no file")
    item = annotate(ImageEntry(path, one_form(row["file"]) or "(no file)", part, problem=unclear), row)
    if task == "classification":
        return replace(
            item,
            label_name=one_form(row["label"]),
            problem=item.problem or ("" if row["label"] else "the table gives no label"),
        )
    mask, which = files.find(row["mask"]) if row["mask"] else (None, "the table names no mask")
    types, kinds = files.find(row["types"]) if row.get("types") else (None, "")
    return replace(item, labels=mask, types=types, problem=item.problem or which or kinds)


def annotate(item: ImageEntry, row: Row) -> ImageEntry:
    """Return `item` with the part, group and scale that a row of a table gives."""
    word = row.get("split", "")
    part = part_of(word) or item.part
    problem = f"split {word!r}: expected train, validation or test" if word and not part_of(word) else item.problem
    group = next(((kind, one_form(row[kind])) for kind in GROUPS if row.get(kind)), item.group)
    try:
        mpp = scale_of(row["mpp"]) if row.get("mpp") else item.mpp
    except ValueError as error:
        mpp, problem = None, str(error)
    return replace(item, part=part, group=group, mpp=mpp, problem=problem)
