"""Corrected labels as training data: one picture after another joins a labelled folder that fine-tuning reads. No torch.

Ten corrected regions are one training set, not ten. A picture is named by its source and place
(``slide-r1024-c2048-512x512``), so that a second correction of the same region replaces the first, after asking, instead of
contradicting it. Where the head knows background, unlabelled pixels are background; otherwise they are not learned (255).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from napari_sdmae.data.labelled.write import (
    CLASSES,
    TABLE,
    LabelledPicture,
    Row,
    check_picture,
    rows_bytes,
    write_labelled_files,
)
from napari_sdmae.io.atomic import atomic_files
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.text.documents import DocumentError, read_json, read_table

PROVENANCE = "provenance.json"
Found = TypeVar("Found")


class AlreadySavedError(FileExistsError):
    """There is a correction of this part of the picture, and it was not said that it is to be replaced."""


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

    The new files are written aside and moved, the table last: whoever reads the folder, and any crash, sees the picture with
    its labels or without both.

    Parameters
    ----------
    picture
        Its name says which part of which source it is; see :func:`napari_sdmae.data.labelled.write.write_labelled_folder`.
    folder
        With ``images``, ``masks`` or ``labels`` and ``types``, ``classes.json``, ``table.csv`` and ``provenance.json``.
    classes
        Must be those of the folder.
    task, unpainted
        See :func:`napari_sdmae.data.labelled.write.write_labelled_folder`.
    provenance
        Where the labels come from, as values that JSON knows; kept by the image's name.
    replace
        Whether labels of the same name are replaced.

    Raises
    ------
    AlreadySavedError
        If there are labels of this name and `replace` is off.
    ValueError
        If the folder holds labels of other classes or another task or that no correction wrote, or nothing is painted.
    OSError
        If it cannot be written; the folder is then as it was.
    """
    rows = _read_table(folder / TABLE)
    known = _known(folder, rows)
    _check(folder, classes, task, rows)
    check_picture(picture, classes, task, unpainted)
    with atomic_files(folder, TABLE, overwrite=True) as aside:
        (row,) = write_labelled_files([picture], aside, classes, task=task, unpainted=unpainted)
        if not replace and (there := _there(folder, rows, row)):
            raise AlreadySavedError(f"{there} and its labels are saved already")
        others = [one for one in rows if one["file"] != row["file"]]
        (aside / TABLE).write_bytes(rows_bytes([*others, row]))
        told = json.dumps(known | {row["file"]: provenance}, indent=1, ensure_ascii=False)
        (aside / PROVENANCE).write_bytes(told.encode())
    return folder / row["file"]


def _there(folder: Path, rows: Sequence[Row], row: Row) -> Path | None:
    """Return a file of the picture that is there already, whether the table names it or not."""
    named = any(one["file"] == row["file"] for one in rows)
    files = [folder / row[column] for column in ("file", "mask", "types") if column in row]
    return folder / row["file"] if named else next((path for path in files if path.exists()), None)


def _known(folder: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """Return where the labels in `folder` come from.

    Raises
    ------
    ValueError
        If there are files of the same names that no correction wrote.
    """
    if not (folder / PROVENANCE).exists():
        if there := [name for name in (TABLE, CLASSES) if (folder / name).exists()]:
            raise ValueError(f"{folder} holds a {there[0]} that no correction wrote; choose another folder for corrections")
        return {}
    known = _readable(folder / PROVENANCE, read_json)
    if not isinstance(known, dict) or not {row.get("file") for row in rows} <= set(known):
        raise ValueError(f"{folder / PROVENANCE} does not fit the {TABLE} beside it; choose another folder for corrections")
    return known


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


def _read_table(path: Path) -> list[Row]:
    return _readable(path, read_table).rows if path.exists() else []


def _readable(path: Path, read: Callable[[Path], Found]) -> Found:
    """Return what `read` makes of a file of the folder; a person may have changed it."""
    try:
        return read(path)
    except DocumentError as error:
        raise ValueError(f"{path} cannot be used ({error}); choose another folder") from None
