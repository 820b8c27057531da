"""Layouts that need no table: images beside their masks, a folder per class, images with GlaS's ``_anno`` files. No torch."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from napari_sdmae.data.label_images import LABEL_SUFFIXES
from napari_sdmae.data.labelled_sets import Item, Listing
from napari_sdmae.data.sources import DataError, SourceFile, find_images
from napari_sdmae.finetune_config import Part, Task

PART_NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders, files and table entries that say which part an image belongs to, in small letters."""
IMAGES, LABELS, TYPES = "images", ("masks", "labels"), "types"
ANNOTATED = "_anno"
GLAS_PART = re.compile(r"(train|test)[ab]?_\d+", re.IGNORECASE)

Key = tuple[str, ...]


def part_of(word: str) -> Part | None:
    """Return the part that a folder, file or table entry of this name means, or None."""
    return PART_NAMES.get(word.strip().lower())


def list_pairs(root: Path, task: Task) -> Listing:
    """List images and label images: ``images/`` and ``masks/`` or ``labels/`` (and ``types/``), or ``NAME_anno`` beside ``NAME``.

    Raises
    ------
    DataError
        If there is no image of either layout.
    """
    files = find_images(root)
    images, labels, types = {}, {}, {}
    for file in files:
        role, key = _role(file.name)
        if role == IMAGES:
            images[key] = file
        elif role in LABELS and file.path.suffix.lower() in LABEL_SUFFIXES:
            labels[key] = file
        elif role == TYPES and file.path.suffix.lower() in LABEL_SUFFIXES:
            types[key] = file
    if not images:
        return _list_annotated(root, files, task)
    items = [_pair(key, file, labels, types) for key, file in sorted(images.items())]
    alone = sorted(labels[key].name for key in labels.keys() - images.keys())
    return Listing(items, warnings=[_alone(alone)] if alone else [])


def _role(name: str) -> tuple[str, Key]:
    """Return the folder that says what a file is, and what it shares with its partners: the other folders and the stem."""
    *folders, file = PurePosixPath(name).parts
    for index, folder in enumerate(folders):
        if folder.lower() in (IMAGES, *LABELS, TYPES):
            return folder.lower(), (*folders[:index], *folders[index + 1 :], PurePosixPath(file).stem)
    return "", ()


def _pair(key: Key, file: SourceFile, labels: dict[Key, SourceFile], types: dict[Key, SourceFile]) -> Item:
    part = next((found for found in map(part_of, key[:-1]) if found), None)
    mask, kinds = labels.get(key), types.get(key)
    problem = "" if mask else f"no label image {key[-1]}.png or .tif in the folder masks or labels"
    return Item(
        file.path, file.name, part, labels=mask.path if mask else None, types=kinds.path if kinds else None, problem=problem
    )


def _alone(names: list[str]) -> str:
    return f"{len(names)} label images have no image of the same name and are left out, such as {names[0]}"


def _list_annotated(root: Path, files: list[SourceFile], task: Task) -> Listing:
    """List the layout published with GlaS (Warwick-QU): ``train_1.bmp`` and ``train_1_anno.bmp``, the glands numbered."""
    by_stem = {str(file.path.with_suffix("")): file for file in files}
    items = []
    for stem, file in sorted(by_stem.items()):
        mask = by_stem.get(stem + ANNOTATED)
        if mask:
            found = GLAS_PART.fullmatch(file.path.stem)
            part = part_of(found[1]) if found else None
            items.append(Item(file.path, file.name, part, labels=mask.path, objects=task == "segmentation"))
    if not items:
        raise DataError(
            f"no labelled images in {root}: expected folders images and masks (or labels) with files of the same names, "
            "or a CSV table with the columns file and mask"
        )
    return Listing(items)


def list_class_folders(root: Path) -> Listing:
    """List a folder per class, also below folders named train, validation or test.

    Raises
    ------
    DataError
        If there are no folders with images.
    """
    items = []
    for file in find_images(root):
        part, name = _class_folder(file.name)
        if name:
            items.append(Item(file.path, file.name, part, label_name=name))
    if not items:
        raise DataError(
            f"no class folders in {root}: expected one folder for each class with its images in it (also below train, "
            "validation and test), or a CSV table with the columns file and label"
        )
    return Listing(items)


def _class_folder(name: str) -> tuple[Part | None, str]:
    """Return the part and the class that the folders of an image say; the class is the uppermost folder that is no part."""
    part, label = None, ""
    for folder in PurePosixPath(name).parts[:-1]:
        if not label and part_of(folder):
            part = part or part_of(folder)
        else:
            label = label or folder
    return part, label
