"""A look through labelled images before training: what is there, per part and class, and what is wrong with it. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from napari_sdmae.config.finetune import FinetuneConfig, Part, Task
from napari_sdmae.data.labelled.labelled_set import PARTS, LabelledImage, LabelledSet
from napari_sdmae.data.labelled.read import read_labelled
from napari_sdmae.data.labelled.splits import refuse_untrainable
from napari_sdmae.labels.label_map import LabelClass

AMOUNTS: Mapping[Task, str] = {
    "segmentation": "pixels",
    "instances": "objects",
    "detection": "objects",
    "classification": "images",
}


@dataclass(frozen=True)
class PartInspection:
    """What is in one part: images, groups they belong to, and by class name how much, and in how many images."""

    images: int
    groups: int
    amounts: Mapping[str, int]
    images_with: Mapping[str, int]


@dataclass(frozen=True)
class ScaleRange:
    """Smallest and largest µm per pixel, None where no image states one, and how many images do not."""

    smallest: float | None
    largest: float | None
    unknown: int


@dataclass(frozen=True)
class LabelledInspection:
    """What was found.

    Attributes
    ----------
    images
        How many can be used.
    amount
        What is counted: pixels, objects or images.
    parts
        Of train, validation and test.
    grouped_by
        What was kept on one side of the split: patient, slide, group; None if single images were divided.
    smallest, largest
        (rows, columns) of the smallest and the largest image in px.
    unusable
        (name, reason) of the images left out.
    warnings
        What a run would warn of.
    notes
        Tables used.
    fingerprint
        Of the files, labels, parts and classes.
    """

    task: Task
    images: int
    classes: tuple[LabelClass, ...]
    amount: str
    parts: Mapping[Part, PartInspection]
    grouped_by: str | None
    smallest: tuple[int, int]
    largest: tuple[int, int]
    mpp: ScaleRange
    unusable: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str


def inspect_labelled(config: FinetuneConfig) -> LabelledInspection:
    """Look through the labelled images of `config`: headers of the images, and all label images.

    Raises
    ------
    DataError
        If a run would refuse to start on them.
    """
    labelled = read_labelled(config, decode=False)
    refuse_untrainable(labelled.images)
    sizes = sorted((image.size for image in labelled.images), key=lambda size: size[0] * size[1])
    return LabelledInspection(
        task=labelled.task,
        images=len(labelled.images),
        classes=labelled.classes,
        amount=AMOUNTS[labelled.task],
        parts={part: _part(labelled.part(part), labelled) for part in PARTS},
        grouped_by=None if labelled.singly else _grouped_by(labelled.images),
        smallest=sizes[0],
        largest=sizes[-1],
        mpp=_scales(labelled.images),
        unusable=labelled.unusable,
        warnings=labelled.warnings,
        notes=labelled.notes,
        fingerprint=labelled.fingerprint,
    )


def _part(images: Sequence[LabelledImage], labelled: LabelledSet) -> PartInspection:
    names = {one.value: one.name for one in labelled.classes}
    amounts, images_with = dict.fromkeys(names.values(), 0), dict.fromkeys(names.values(), 0)
    for image in images:
        for value, amount in image.counts:
            amounts[names[value]] += amount
            images_with[names[value]] += 1
    return PartInspection(len(images), len({image.group for image in images if image.group}), amounts, images_with)


def _grouped_by(images: Sequence[LabelledImage]) -> str | None:
    return next((image.group.split(" ", 1)[0] for image in images if image.group), None)


def _scales(images: Sequence[LabelledImage]) -> ScaleRange:
    known = [image.mpp for image in images if image.mpp]
    return ScaleRange(min(known, default=None), max(known, default=None), len(images) - len(known))
