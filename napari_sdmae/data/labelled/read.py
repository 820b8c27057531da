"""Read labelled images of any layout: which there are, what they are labelled with, and which part each belongs to. No torch.

The layouts are described in docs/guide/labelled-data.md. :class:`~napari_sdmae.data.batches.labelled_tiles.LabelledTiles` makes
batches of what is read here, :func:`~napari_sdmae.data.labelled.load.load_labelled` whole images.

Training that stops at epoch 3 on one damaged file, or learns palette colours, is worth less than a message before it starts:
every image is decoded once before training, unusable ones are listed with their reason, and more than 10 % of them refuse the
start. Masks keep their stored values. A value that ``classes.json`` does not list makes its image unusable: it is more often a
wrong file than a class to be left out. 255 is not learned by default, as in Pascal VOC and Cityscapes; in masks of grey levels
it is more often a class, so these are refused until the classes, or the value to leave out, are given. One reader of each kind
(``io/labels/pixels.py``, ``text/documents.py``, ``text/spelling.py``) serves export and training alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.image_folder import DataError, refuse_unusable
from napari_sdmae.data.labelled.annotations import Annotations
from napari_sdmae.data.labelled.class_balance import class_counts
from napari_sdmae.data.labelled.classes import (
    leave_out,
    mask_classes,
    name_classes,
    object_classes,
    read_classes,
    spell_alike,
    without,
)
from napari_sdmae.data.labelled.label_images import is_outlines, label_size, outline_count, value_counts
from napari_sdmae.data.labelled.labelled_set import PARTS, ImageEntry, LabelledImage, LabelledSet, LayoutListing, fingerprint
from napari_sdmae.data.labelled.layouts.annotations import with_annotations
from napari_sdmae.data.labelled.layouts.coco import list_coco
from napari_sdmae.data.labelled.layouts.folders import list_class_folders, list_folders
from napari_sdmae.data.labelled.layouts.tables import TABLES, add_notes, find_tables, list_tables
from napari_sdmae.data.labelled.load import Loaded, load_labelled
from napari_sdmae.data.labelled.notes import changed, decoded, picture_warnings, turned_fits
from napari_sdmae.data.labelled.splits import missing_classes, split_images
from napari_sdmae.data.listing import Listing, list_folder
from napari_sdmae.data.tiles.decode import THREADS
from napari_sdmae.io.images.read import InvalidImageError, image_size, read_mpp
from napari_sdmae.labels.label_map import IGNORE, LabelClass

__all__ = ["IGNORE", "PARTS", "LabelledImage", "LabelledSet", "Loaded", "load_labelled", "read_labelled"]

MOST_UNUSABLE = 0.1
"""Fraction of the images that may be left out; more are a mistake in the layout rather than single damaged files."""
REMEDY = "mend them, or take them out of the folder or table"

CheckedEntry = tuple[ImageEntry, tuple[int, int], tuple[tuple[int, int], ...]]
"""An item with its (height, width) in px and the values in its label or type image, with their pixels."""


def read_labelled(config: FinetuneConfig, *, decode: bool = True) -> LabelledSet:
    """Read the labelled images of `config`.

    Parameters
    ----------
    config
        Task, data, labels, scale of the images, seed.
    decode
        Decode each image once, so that a damaged file is found now and not in the middle of a run; else only the headers are
        read. Label images are always decoded.

    Raises
    ------
    DataError
        If there is nothing of a known layout, more than 10 % cannot be used, classes cannot be told, or a patient, slide or
        group is on two sides of the given split.
    """
    data = Path(config.data).expanduser()
    listing = list_items(data, config)
    given = listing.classes or read_classes(data if data.is_dir() else data.parent) or listing.default
    listing, given = with_annotations(spell_alike(listing, given), given, config)
    usable, unusable = _check(listing.items, config, decode)
    refuse_unusable(unusable, len(listing.items), MOST_UNUSABLE, REMEDY)
    classes = _classes(usable, given, config)
    usable, unknown = _with_known_values(usable, classes, config)
    unusable = sorted([*unusable, *unknown])
    refuse_unusable(unusable, len(listing.items), MOST_UNUSABLE, REMEDY)
    images = [_image(one, classes, config) for one in usable]
    split = split_images(images, [item.part for item, _, _ in usable], config.labels, config.seed)
    told = picture_warnings([(item.name, item.path) for item, _, _ in usable], config.image_mpp, decode)
    told += [*_not_learned(usable, config), *_undrawn(usable)]
    lacking = missing_classes(split.images, {one.value: one.name for one in classes})
    warnings = [*listing.warnings, *told, *split.warnings, *lacking]
    return LabelledSet(
        config.task,
        classes,
        tuple(split.images),
        tuple(warnings),
        tuple(unusable),
        fingerprint(config.task, classes, split.images),
        tuple(listing.notes),
        split.singly,
    )


def list_items(data: Path, config: FinetuneConfig) -> LayoutListing:
    """List what a folder, table or COCO file names, sorted by name, before any image is opened.

    Raises
    ------
    DataError
        If there is nothing of a known layout.
    """
    if not data.exists():
        raise DataError(f"no folder or file {data}: give the folder, CSV table or COCO file of the labelled images")
    listing = leave_out(_list(data, config), config.labels.leave_out)
    return replace(listing, items=sorted(listing.items, key=lambda item: item.name))


def _list(data: Path, config: FinetuneConfig) -> LayoutListing:
    """List a file, or a folder, which is walked once."""
    if not data.is_dir():
        return _list_file(data, config)
    lies = list_folder(data)
    listing = list_coco(data, lies) if config.task == "detection" else _list_folder(data, lies, config)
    return replace(listing, warnings=[*listing.warnings, *lies.warnings])


def _list_file(data: Path, config: FinetuneConfig) -> LayoutListing:
    if config.task == "detection":
        return list_coco(data)
    if data.suffix.lower() not in TABLES:
        raise DataError(f"{data} is no CSV table: give a folder, or a table with the columns file and the labels")
    return list_tables([(data, None)], config.task)


def _list_folder(data: Path, lies: Listing, config: FinetuneConfig) -> LayoutListing:
    tables = find_tables(data, config.task)
    if tables.lists:
        listing = list_tables(tables.lists, config.task, lies)
    else:
        listing = list_class_folders(data, lies) if config.task == "classification" else list_folders(data, lies, config.task)
        listing = add_notes(listing, tables.notes) if tables.notes else listing
    return replace(listing, warnings=[*tables.warnings, *listing.warnings])


def _check(items: list[ImageEntry], config: FinetuneConfig, decode: bool) -> tuple[list[CheckedEntry], list[tuple[str, str]]]:
    """Part usable from unusable images, with (name, reason) of these."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="labels") as pool:
        found = list(pool.map(partial(_look, config=config, decode=decode), items))
    usable = [one for one in found if not isinstance(one, str)]
    return usable, [(item.name, one) for item, one in zip(items, found, strict=True) if isinstance(one, str)]


def _look(item: ImageEntry, config: FinetuneConfig, decode: bool) -> CheckedEntry | str:
    """Return what an image and its labels hold, or why they cannot be used."""
    if item.problem:
        return item.problem
    try:
        size = image_size(item.path)
        if decode:
            decoded(item.path, *changed(item.path))
        for what, path in (("mask", item.labels), ("types", item.types)):
            if isinstance(path, Path) and not is_outlines(path):
                _check_size(what, item.path, size, label_size(path))
        item = replace(item, mpp=config.image_mpp or item.mpp or read_mpp(item.path))
        return item, size, _values(item, size)
    except InvalidImageError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _check_size(what: str, path: Path, image: tuple[int, int], labels: tuple[int, int]) -> None:
    if image != labels:
        why = turned_fits(path, image, labels) or ": they must be of the same size"
        raise InvalidImageError(f"the image is {image[1]} × {image[0]} px, its {what} {labels[1]} × {labels[0]} px{why}")


def _values(item: ImageEntry, size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    if item.labels is None:
        return ()
    if item.types is not None:
        value_counts(item.labels, size)  # decoded here, so that damage is found
    return value_counts(item.types or item.labels, size)


def _classes(usable: list[CheckedEntry], given: tuple[LabelClass, ...], config: FinetuneConfig) -> tuple[LabelClass, ...]:
    if config.task == "classification":
        return name_classes((item.label_name or "" for item, _, _ in usable), without(given, config.labels.leave_out))
    if config.task == "detection":
        return given
    if config.task == "instances":
        return object_classes(_found((one for one in usable if one[0].types), ()), given)
    return mask_classes(_found(usable, (1,)), given, config.labels.ignore_value)


def _found(usable: Iterable[CheckedEntry], of_objects: tuple[int, ...]) -> set[int]:
    """Return all values in label images; where they hold object numbers, these are background and `of_objects`."""
    found: set[int] = set()
    for item, _, values in usable:
        found |= {0, *of_objects} if item.objects else {value for value, _ in values}
    return found


def _with_known_values(
    usable: list[CheckedEntry], classes: tuple[LabelClass, ...], config: FinetuneConfig
) -> tuple[list[CheckedEntry], list[tuple[str, str]]]:
    """Leave out images whose label images hold values that are no class."""
    known = {one.value for one in classes} | ({0} if config.task == "instances" else {config.labels.ignore_value})
    kept, left = [], []
    for one in usable:
        item, _, values = one
        holds_classes = item.types is not None if config.task == "instances" else item.labels is not None and not item.objects
        unknown = sorted({value for value, _ in values} - known) if holds_classes else []
        if unknown:
            left.append((item.name, _unlisted(unknown, dict(values))))
        else:
            kept.append(one)
    return kept, left


def _unlisted(unknown: list[int], pixels: dict[int, int]) -> str:
    """Say which values are no class, and how to make them one."""
    shown = ", ".join(f"{value} ({pixels[value]:,} px)" for value in unknown[:5])
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    values = f"the value{'s' if len(unknown) > 1 else ''} {shown}{more}"
    return f"the label image holds {values}, not among the classes: list it in classes.json"


def _not_learned(usable: list[CheckedEntry], config: FinetuneConfig) -> list[str]:
    """Say how many pixels have the value that is left out, if a class may have it: 0 that is left out is meant so."""
    value = config.labels.ignore_value
    stored = [(item, values) for item, _, values in usable if not item.objects and not isinstance(item.labels, Annotations)]
    holding = [dict(values) for _, values in stored if value in dict(values)]
    if config.task != "segmentation" or not value or not holding:
        return []
    share = sum(one[value] for one in holding) / sum(pixels for _, _, values in usable for _, pixels in values)
    return [
        f"{len(holding)} of {len(usable)} masks hold {value}, which is not learned ({share:.1%} of all pixels): "
        "if it is a class, set labels.ignore_value to another value"
    ]


def _undrawn(usable: list[CheckedEntry]) -> list[str]:
    """Say how many outlines left no pixel in their label images."""
    drawn = [
        (outline_count(item.labels), value_counts(item.labels, size))
        for item, size, _ in usable
        if item.labels
        and is_outlines(item.labels)
        and not (isinstance(item.labels, Annotations) and item.labels.draws == "classes")
    ]
    there = sum(value > 0 for _, values in drawn for value, _ in values)
    lost = sum(count for count, _ in drawn) - there
    why = "they lie under others, outside the image or enclose nothing"
    return [f"{lost} of {lost + there} outlines are not used: {why}"] if lost else []


def _image(checked: CheckedEntry, classes: tuple[LabelClass, ...], config: FinetuneConfig) -> LabelledImage:
    item, size, values = checked
    label = next((one.value for one in classes if one.name == item.label_name), None) if item.label_name else None
    image = LabelledImage(
        item.path,
        item.name,
        item.part or "train",
        " ".join(item.group) if item.group else None,
        item.mpp,
        item.labels,
        item.types,
        label,
        item.boxes,
        size,
        objects=item.objects,
    )
    return replace(image, counts=class_counts(image, config.task, classes, values, config.labels.ignore_value))
