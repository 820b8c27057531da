"""Corrected labels as training data: one picture after another joins a labelled folder that fine-tuning reads. No torch."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from napari_sdmae.documents import DocumentError, read_json, read_table
from napari_sdmae.io.files import write_atomically
from napari_sdmae.io.labelled_writer import LabelledPicture, write_labelled_folder
from napari_sdmae.label_map import LabelClass

CLASSES, TABLE, PROVENANCE = "classes.json", "table.csv", "provenance.json"
Row = dict[str, str]
Found = TypeVar("Found")


def add_correction(
    picture: LabelledPicture,
    folder: Path,
    classes: Sequence[LabelClass],
    *,
    task: Literal["segmentation", "instances"],
    unpainted: int | None,
    provenance: Mapping[str, Any],
    replace: bool = False,
) -> Path:
    """Add `picture` to the labelled `folder`, which is made where there is none; return its image file.

    The new files are written aside and renamed, the table last: whoever reads the folder, and any crash, sees the picture
    with its labels or without both.

    Parameters
    ----------
    picture
        Its name says which part of which source it is; see :func:`napari_sdmae.io.labelled_writer.write_labelled_folder`.
    folder
        With ``images``, ``masks`` or ``labels`` and ``types``, ``classes.json``, ``table.csv`` and ``provenance.json``.
    classes
        Must be those of the folder.
    task, unpainted
        See :func:`napari_sdmae.io.labelled_writer.write_labelled_folder`.
    provenance
        Where the labels come from, as values that JSON knows; kept by the image's name.
    replace
        Whether labels of the same name are replaced.

    Raises
    ------
    FileExistsError
        If there are labels of this name and `replace` is off.
    ValueError
        If the folder holds labels of other classes or another task, or nothing is painted.
    OSError
        If it cannot be written; the folder is then as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = _read_table(folder / TABLE)
    _check(folder, classes, task, rows)
    aside = folder / f".new-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write_labelled_folder([picture], aside, classes, task=task, unpainted=unpainted)
        (row,) = _read_table(aside / TABLE)
        if any(one.get("file") == row["file"] for one in rows) and not replace:
            raise FileExistsError(f"{folder / row['file']} and its labels are saved already")
        _move(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _write_provenance(folder / PROVENANCE, row["file"], provenance)
    _write_table(folder / TABLE, [*(one for one in rows if one.get("file") != row["file"]), row])
    return folder / row["file"]


def _check(folder: Path, classes: Sequence[LabelClass], task: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    kind = "masks" if task == "segmentation" else "labels"
    if not all(row.get("mask", "").startswith(f"{kind}/") for row in rows):
        raise ValueError(f"{folder} holds labels of another task; choose another folder for corrections of {task}")
    theirs, ours = _listed_classes(folder / CLASSES), {one.value: one.name for one in classes}
    if theirs != ours:
        names = ", ".join(theirs.values())
        raise ValueError(f"{folder} holds labels of other classes ({names}); choose another folder for these corrections")


def _listed_classes(path: Path) -> dict[int, str]:
    """Return the name of each class value in a ``classes.json``."""
    try:
        return {one.value: one.name for one in map(LabelClass.model_validate, read_json(path)["classes"])}
    except (DocumentError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be used ({' '.join(str(error).split())}); choose another folder") from None


def _move(aside: Path, folder: Path) -> None:
    """Move the files into place, images last."""
    files = sorted((path for path in aside.rglob("*") if path.is_file() and path.name != TABLE), reverse=True)
    for path in sorted(files, key=lambda path: path.parent.name == "images"):
        target = folder / path.relative_to(aside)
        target.parent.mkdir(exist_ok=True)
        path.replace(target)


def _write_provenance(path: Path, file: str, provenance: Mapping[str, Any]) -> None:
    known = _readable(path, read_json) if path.is_file() else {}
    write_atomically(path, json.dumps(known | {file: provenance}, indent=1, ensure_ascii=False).encode())


def _read_table(path: Path) -> list[Row]:
    return _readable(path, read_table).rows if path.is_file() else []


def _readable(path: Path, read: Callable[[Path], Found]) -> Found:
    """Return what `read` makes of a file of the folder; a person may have changed it."""
    try:
        return read(path)
    except DocumentError as error:
        raise ValueError(f"{path} cannot be used ({error}); choose another folder") from None


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
