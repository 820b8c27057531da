"""What a set of labelled images is: images, their labels, classes and parts. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from napari_sdmae.config.finetune import Part, Task
from napari_sdmae.data.labelled.annotations import LabelSource
from napari_sdmae.labels.label_map import LabelClass

PARTS: tuple[Part, ...] = ("train", "validation", "test")
Box = tuple[float, float, float, float, int]
"""(left, top, right, bottom) in px, and the class value."""


@dataclass(frozen=True)
class LabelledImage:
    """An image and its labels.

    Attributes
    ----------
    path, name
        The file, and what it is called in messages and reports: its path below the data, with forward slashes.
    part
        Trained on, selected by, or tested on.
    group
        What must not be on two sides: ``patient P``, ``slide S`` or ``group G``; None if the table does not say.
    mpp
        µm per pixel of the file; None if unknown.
    labels, types
        Label image of segmentation or instances, and the class value per pixel of instances.
    label
        Class value of the whole image (classification).
    boxes
        Of detection: left, upper, right, lower edge in px, class value.
    size
        (height, width) in px.
    counts
        (class value, how much of it): pixels of segmentation, objects of instances and detection, 1 of classification.
    objects
        Of segmentation: the label image holds object numbers, all of them of class 1 (as published with GlaS).
    """

    path: Path
    name: str
    part: Part
    group: str | None
    mpp: float | None
    labels: LabelSource | None = None
    types: LabelSource | None = None
    label: int | None = None
    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] = (0, 0)
    counts: tuple[tuple[int, int], ...] = ()
    objects: bool = False


def count_groups(images: Iterable[LabelledImage]) -> int | None:
    """Return how many patients or slides the images are from, None if that is not known of all."""
    groups = {image.group for image in images}
    return None if None in groups else len(groups)


@dataclass(frozen=True)
class LabelledSet:
    """Labelled images that can be trained on.

    Attributes
    ----------
    classes
        All classes in the order of their values; a target is an index into it. Instances and detection: from value 1.
    images
        Usable images, sorted by name.
    warnings
        What the user must know, one sentence each; they belong into every report.
    unusable
        (name, reason) of the images left out.
    fingerprint
        16 hexadecimal digits that change with files, labels, parts and classes.
    notes
        Which tables were used, and for how many images.
    singly
        Whether single images were divided into parts although some are known to belong together.
    """

    task: Task
    classes: tuple[LabelClass, ...]
    images: tuple[LabelledImage, ...]
    warnings: tuple[str, ...]
    unusable: tuple[tuple[str, str], ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    singly: bool = False

    def part(self, name: Part) -> tuple[LabelledImage, ...]:
        """Return the images of one part; it may be empty."""
        return tuple(image for image in self.images if image.part == name)

    def index_of(self) -> dict[int, int]:
        """Return the index into `classes` of each class value."""
        return {one.value: index for index, one in enumerate(self.classes)}


@dataclass(frozen=True)
class ImageEntry:
    """An image as a layout or table lists it, before its files are looked at.

    Attributes
    ----------
    part
        As the table or the folders say; None if they do not.
    group
        (kind, name), kind being patient, slide or group.
    label_name
        Class of the whole image by name.
    problem
        Why it cannot be used, if that is known already.
    """

    path: Path
    name: str
    part: Part | None = None
    group: tuple[str, str] | None = None
    mpp: float | None = None
    labels: LabelSource | None = None
    types: LabelSource | None = None
    label_name: str | None = None
    boxes: tuple[Box, ...] = ()
    objects: bool = False
    problem: str = ""


@dataclass(frozen=True)
class LayoutListing:
    """What a layout lists.

    Attributes
    ----------
    classes
        Those it names; empty if it names none.
    warnings
        What to tell the user.
    default
        What its classes are called where nothing else names them, as in a published data set.
    notes
        Which tables were used, and for how many images.
    """

    items: list[ImageEntry]
    classes: tuple[LabelClass, ...] = ()
    warnings: list[str] = field(default_factory=list)
    default: tuple[LabelClass, ...] = ()
    notes: list[str] = field(default_factory=list)


def fingerprint(task: Task, classes: tuple[LabelClass, ...], images: list[LabelledImage]) -> str:
    """Return 16 hexadecimal digits that change with the files (name, size, time of change), their labels, parts and classes."""
    digest = hashlib.sha256(repr((task, [one.model_dump() for one in classes])).encode())
    for image in images:
        digest.update(repr((image.name, image.part, image.group, image.mpp, image.label, image.boxes)).encode())
        for path in (image.path, image.labels, image.types):
            if path is not None:
                status = path.stat()
                digest.update(f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
