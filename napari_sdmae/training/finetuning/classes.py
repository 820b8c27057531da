"""Labelled images of other people, in the classes of a head."""

from __future__ import annotations

from dataclasses import replace

from napari_sdmae.config.head import HeadSpec
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.read import LabelledImage, LabelledSet


def with_classes_of(labelled: LabelledSet, spec: HeadSpec) -> LabelledSet:
    """Return `labelled` with the classes of a head.

    Classes of whole images and of boxes are recognised by their names, as their values only count folders or categories; those
    of label images by their values, which are in the pixels.

    Raises
    ------
    DataError
        If there is a class that the head does not know.
    """
    by_value = spec.task in ("segmentation", "instances")
    known = {one.value if by_value else one.name: one.value for one in spec.classes}
    values = {one.value: known.get(one.value if by_value else one.name) for one in labelled.classes}
    used = {value for image in labelled.images for value, _ in image.counts}
    unknown = [f"{one.name} ({one.value})" for one in labelled.classes if values[one.value] is None and one.value in used]
    if unknown:
        names = ", ".join(f"{one.name} ({one.value})" for one in spec.classes)
        raise DataError(f"the head does not know {', '.join(unknown)}: it tells apart {names}; rename or leave out these labels")
    renumbered = {value: new for value, new in values.items() if new is not None}
    return replace(labelled, classes=spec.classes, images=tuple(_renumbered(image, renumbered) for image in labelled.images))


def _renumbered(image: LabelledImage, values: dict[int, int]) -> LabelledImage:
    """Return an image whose class values are those of the head."""
    return replace(
        image,
        label=None if image.label is None else values[image.label],
        boxes=tuple((*box[:4], values[box[4]]) for box in image.boxes),
        counts=tuple((values[value], amount) for value, amount in image.counts),
    )
