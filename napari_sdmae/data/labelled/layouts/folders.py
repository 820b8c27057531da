"""Layouts that need no table: images beside their masks, a folder per class, GlaS and MoNuSeg as published. No torch."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from napari_sdmae.config.finetune import Part, Task
from napari_sdmae.data.image_folder import DataError, SourceFile, refuse_no_images
from napari_sdmae.data.labelled.labelled_set import ImageEntry, LayoutListing
from napari_sdmae.data.labelled.layouts.pairs import list_pairs, unpaired
from napari_sdmae.data.labelled.parts import part_in, part_of
from napari_sdmae.data.listing import Listing
from napari_sdmae.io.labels import aperio_xml
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.text.spelling import ByName, one_form

ANNOTATED = "_anno"
DRAWN = ("tissue images", "annotations")
"""MoNuSeg's folders of images and of outlines; its test images lie beside their outlines."""
TCGA_PATIENT = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}")
GLAS_PART = re.compile(r"(train|test)[ab]?_\d+", re.IGNORECASE)


def list_folders(root: Path, lies: Listing, task: Task) -> LayoutListing:
    """List images with their label images, of all that `lies` in `root`.

    They lie in ``images/`` and ``masks/`` or ``labels/`` (and ``types/``), or as GlaS or MoNuSeg were published.

    Raises
    ------
    DataError
        If there is no image of any of these layouts.
    """
    files = lies.files
    listing = list_pairs(files, task)
    if listing.items:
        return listing
    refuse_no_images(root, lies)
    return _list_published(root, lies.images, files, task)


def _list_published(root: Path, images: list[SourceFile], files: list[SourceFile], task: Task) -> LayoutListing:
    """List the layouts of GlaS and MoNuSeg; their labels are numbered objects."""
    glands, nuclei = _list_annotated(images), _list_outlined(images, files)
    if not glands.items and not nuclei.items:
        raise DataError(
            f"no labelled images in {root}: expected folders images and masks (or labels) with files of the same names, "
            "GlaS or MoNuSeg as published, or a CSV table with the columns file and mask"
        )
    found = glands if glands.items else nuclei
    return replace(found, items=[replace(item, objects=task == "segmentation") for item in found.items])


def _list_annotated(files: list[SourceFile]) -> LayoutListing:
    """List the layout published with GlaS (Warwick-QU): ``train_1.bmp`` and ``train_1_anno.bmp``, the glands numbered."""
    named = ByName((str(file.path.with_suffix("")), file) for file in files)
    items = []
    for file in files:
        stem = str(file.path.with_suffix(""))
        masks, alike = named.all(stem + ANNOTATED), named.all(stem)
        if masks:
            found = GLAS_PART.fullmatch(file.path.stem)
            part = part_of(found[1]) if found else None
            unclear = f"{len(alike)} images and {len(masks)} label images are called alike: leave one of each"
            problem = unclear if len(alike) > 1 or len(masks) > 1 else ""
            items.append(ImageEntry(file.path, one_form(file.name), part, labels=masks[0].path, problem=problem))
    return LayoutListing(items, default=make_classes(["gland"], 1))


def _list_outlined(images: list[SourceFile], files: list[SourceFile]) -> LayoutListing:
    """List the layout published with MoNuSeg: ``Tissue Images/NAME.tif`` and ``Annotations/NAME.xml``, or both in one folder.

    NAME is TCGA's, which begins with the patient.
    """
    outlined = [file for file in files if file.path.suffix.lower() == aperio_xml.SUFFIX]
    if not outlined:
        return LayoutListing([])
    drawn = ByName((_without_roles(file.name), file) for file in outlined)
    items = [_outlined(file, drawn.all(_without_roles(file.name))) for file in images]
    used = {item.labels for item in items}
    alone = [one_form(file.name) for file in outlined if file.path not in used]
    return LayoutListing(items, warnings=[unpaired(alone)] if alone else [], default=make_classes(["nucleus"], 1))


def _outlined(file: SourceFile, drawn: list[SourceFile]) -> ImageEntry:
    """Return an image with the files of outlines that are called like it, of which there should be one."""
    key = PurePosixPath(_without_roles(file.name))
    patient = TCGA_PATIENT.match(key.name)
    problem = "" if len(drawn) == 1 else f"{len(drawn) or 'no'} outlines {key.name}.xml in the folder Annotations or beside it"
    return ImageEntry(
        file.path,
        one_form(file.name),
        part_in(key.parts[:-1]),
        group=("patient", patient[0]) if patient else None,
        labels=drawn[0].path if drawn else None,
        problem=problem,
    )


def _without_roles(name: str) -> str:
    """Return what an image and its outlines share: the folders that do not say which of both it is, and the stem."""
    path = PurePosixPath(name)
    return "/".join((*(folder for folder in path.parts[:-1] if folder.lower() not in DRAWN), path.stem))


def list_class_folders(root: Path, lies: Listing) -> LayoutListing:
    """List the images that lie in a folder per class, also below folders named train, validation or test.

    Raises
    ------
    DataError
        If there are no folders with images.
    """
    refuse_no_images(root, lies)
    items = []
    for file in lies.images:
        part, name = _class_folder(file.name)
        if name:
            items.append(ImageEntry(file.path, one_form(file.name), part, label_name=one_form(name)))
    if not items:
        raise DataError(
            f"no class folders in {root}: expected one folder for each class with its images in it (also below train, "
            "validation and test), or a CSV table with the columns file and label"
        )
    return LayoutListing(items)


def _class_folder(name: str) -> tuple[Part | None, str]:
    """Return the part and the class that the folders of an image say; the class is the uppermost folder that is no part."""
    part, label = None, ""
    for folder in PurePosixPath(name).parts[:-1]:
        if not label and part_of(folder):
            part = part or part_of(folder)
        else:
            label = label or folder
    return part, label
