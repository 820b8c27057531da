"""Label files that hold annotations of QuPath: which classes there are, and what is drawn of each image. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.annotations import Annotations, are_annotations, class_of, parted
from napari_sdmae.data.labelled.labelled_set import ImageEntry, LayoutListing
from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.io.labels.geojson.read import UNCLASSIFIED
from napari_sdmae.io.labels.peer_classes import Colour
from napari_sdmae.labels.label_map import LabelClass, colour_of
from napari_sdmae.text.spelling import near

Classes = dict[str, Colour | None]
"""Colour of each class by name."""


def with_annotations(
    listing: LayoutListing, given: tuple[LabelClass, ...], config: FinetuneConfig
) -> tuple[LayoutListing, tuple[LabelClass, ...]]:
    """Return `listing` with files of annotations as label images, and all classes: those `given`, or those of the annotations.

    Files that cannot be read, or hold a class that is not among those given, make their image unusable.
    """
    files = {item.labels for item in listing.items if isinstance(item.labels, Path) and are_annotations(item.labels)}
    if not files:
        return listing, given
    found = {file: _classes_in(file) for file in files}
    colours: Classes = {}
    for names in found.values():
        colours |= {} if isinstance(names, str) else names
    one_kind = config.task == "instances" and not given and set(colours) <= {UNCLASSIFIED}
    classes = given or (() if one_kind else _numbered(colours))
    return replace(listing, items=[_as_label_images(item, found, classes, config) for item in listing.items]), classes


def _numbered(colours: Classes) -> tuple[LabelClass, ...]:
    """Return a class for each name, from value 1 in the order of the names."""
    numbered = enumerate(sorted(colours), 1)
    return tuple(LabelClass(value=value, name=name, colour=colours[name] or colour_of(value)) for value, name in numbered)


def _as_label_images(
    item: ImageEntry, found: Mapping[Path, Classes | str], classes: tuple[LabelClass, ...], config: FinetuneConfig
) -> ImageEntry:
    """Return `item` with what is drawn of its annotations; unchanged where it has none."""
    if not isinstance(item.labels, Path) or not are_annotations(item.labels):
        return item
    names = found[item.labels]
    if isinstance(names, str):
        return replace(item, problem=item.problem or names)
    by_name = {near(one.name): one.value for one in classes}
    unlisted = [name for name in names if near(name) not in by_name]
    if classes and unlisted:
        listed = ", ".join(one.name for one in classes)
        return replace(item, problem=f"{item.labels.name} has the class {unlisted[0]}, which is not listed ({listed})")
    values = tuple((name, by_name[near(name)]) for name in names) if classes else ()
    if config.task == "segmentation":
        return replace(item, labels=Annotations(item.labels, "classes", values, config.labels.ignore_value))
    types = Annotations(item.labels, "types", values) if classes else None
    return replace(item, labels=Annotations(item.labels, "objects"), types=types)


def _classes_in(path: Path) -> Classes | str:
    """Return the classes of the objects in a file, with their colours, or why it cannot be read."""
    try:
        objects = parted(path)[0]
    except InvalidImageError as error:
        return str(error)
    return {class_of(one): one.colour for one in reversed(objects)}
