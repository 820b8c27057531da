"""Layouts that need no table: images beside their masks, a folder per class, GlaS and MoNuSeg as published. No torch."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from napari_sdmae.data.label_images import LABEL_SUFFIXES
from napari_sdmae.data.labelled_sets import Item, Listing
from napari_sdmae.data.sources import DataError, SourceFile, find_images
from napari_sdmae.finetune_config import Part, Task
from napari_sdmae.label_map import make_classes

PART_NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("nct-crc-he-100k", "monuseg 2018 training data"), "train"),
    **dict.fromkeys(("crc-val-he-7k", "monusegtestdata"), "test"),
}
"""Names of folders, files and table entries that say which part an image belongs to, in small letters; also as published."""
IMAGES, LABELS, TYPES = "images", ("masks", "labels"), "types"
ANNOTATED = "_anno"
DRAWN = ("tissue images", "annotations")
"""MoNuSeg's folders of images and of outlines; its test images lie beside their outlines."""
TCGA_PATIENT = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}")
GLAS_PART = re.compile(r"(train|test)[ab]?_\d+", re.IGNORECASE)

Key = tuple[str, ...]


def part_of(word: str) -> Part | None:
    """Return the part that a folder, file or table entry of this name means, or None."""
    return PART_NAMES.get(word.strip().lower())


def list_pairs(root: Path, task: Task) -> Listing:
    """List images and label images: ``images/`` and ``masks/`` or ``labels/`` (and ``types/``), or GlaS or MoNuSeg as published.

    Raises
    ------
    DataError
        If there is no image of any of these layouts.
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
        return _list_published(root, files, task)
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


def _list_published(root: Path, files: list[SourceFile], task: Task) -> Listing:
    """List the layouts of GlaS and MoNuSeg; their labels are numbered objects."""
    glands, nuclei = _list_annotated(files), _list_outlined(root, files)
    if not glands.items and not nuclei.items:
        raise DataError(
            f"no labelled images in {root}: expected folders images and masks (or labels) with files of the same names, "
            "GlaS or MoNuSeg as published, or a CSV table with the columns file and mask"
        )
    found = glands if glands.items else nuclei
    return replace(found, items=[replace(item, objects=task == "segmentation") for item in found.items])


def _list_annotated(files: list[SourceFile]) -> Listing:
    """List the layout published with GlaS (Warwick-QU): ``train_1.bmp`` and ``train_1_anno.bmp``, the glands numbered."""
    by_stem = {str(file.path.with_suffix("")): file for file in files}
    items = []
    for stem, file in sorted(by_stem.items()):
        mask = by_stem.get(stem + ANNOTATED)
        if mask:
            found = GLAS_PART.fullmatch(file.path.stem)
            part = part_of(found[1]) if found else None
            items.append(Item(file.path, file.name, part, labels=mask.path))
    return Listing(items, usual=make_classes(["gland"], 1))


def _list_outlined(root: Path, files: list[SourceFile]) -> Listing:
    """List the layout published with MoNuSeg: ``Tissue Images/NAME.tif`` and ``Annotations/NAME.xml``, or both in one folder.

    NAME is TCGA's, which begins with the patient.
    """
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.xml") if not path.name.startswith(".")]
    drawn = {_without_roles(name): root / name for name in sorted(names)}
    if not drawn:
        return Listing([])
    items, alone = [], set(drawn)
    for file in files:
        key = _without_roles(file.name)
        part = next((found for found in map(part_of, key[:-1]) if found), None)
        patient = TCGA_PATIENT.match(key[-1])
        alone.discard(key)
        items.append(
            Item(
                file.path,
                file.name,
                part,
                group=("patient", patient[0]) if patient else None,
                labels=drawn.get(key),
                problem="" if key in drawn else f"no outlines {key[-1]}.xml in the folder Annotations or beside it",
            )
        )
    said = [_alone(sorted(drawn[key].relative_to(root).as_posix() for key in alone))] if alone else []
    return Listing(items, warnings=said, usual=make_classes(["nucleus"], 1))


def _without_roles(name: str) -> Key:
    """Return what an image and its outlines share: the folders that do not say which of both it is, and the stem."""
    path = PurePosixPath(name)
    return (*(folder for folder in path.parts[:-1] if folder.lower() not in DRAWN), path.stem)


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
