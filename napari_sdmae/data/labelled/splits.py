"""Which labelled images train, select and test: whole patients or slides on one side, every class in each part. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.finetune import LabelsConfig, Part
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.labelled_set import PARTS, LabelledImage
from napari_sdmae.humanize import several
from napari_sdmae.rng import SPLIT, random_bits

INFLATED = "tiles from one slide may land in both training and test sets and inflate the metrics"
REMEDY = "Add a slide or patient column."
UNKNOWN = f"slide IDs are missing, so {INFLATED}. {REMEDY}"
SAME_SLIDE = f"single images were kept apart (labels.split image), so {INFLATED}"


@dataclass(frozen=True)
class Split:
    """Images with their parts, and what must be said about them.

    `singly` is True if single images were divided although some are known to belong together.
    """

    images: list[LabelledImage]
    warnings: list[str]
    singly: bool = False


def split_images(images: list[LabelledImage], declared: Sequence[Part | None], settings: LabelsConfig, seed: int) -> Split:
    """Give each image its part.

    Parameters
    ----------
    images
        Usable images; their `part` is not looked at.
    declared
        The part of each that table or folders name, or None.
    settings
        How, and how much for validation and test.
    seed
        Same seed and images, same parts.

    Raises
    ------
    DataError
        If the declared parts have a patient, slide or group on two sides, or a file that is listed twice comes into two parts.
    """
    split = _split(images, declared, settings, seed)
    _refuse_shared_files(split.images)
    return split


def _split(images: list[LabelledImage], declared: Sequence[Part | None], settings: LabelsConfig, seed: int) -> Split:
    if settings.split == "image":
        split = _divide(
            images, [image.name for image in images], {"validation": settings.validation, "test": settings.test}, seed
        )
        return Split(split.images, [SAME_SLIDE, *split.warnings], singly=True)
    if any(declared):
        return _as_declared(images, declared, settings, seed)
    groups, warnings, singly = _groups(images)
    split = _divide(images, groups, {"validation": settings.validation, "test": settings.test}, seed)
    return Split(split.images, [*warnings, *split.warnings], singly)


def _as_declared(images: list[LabelledImage], declared: Sequence[Part | None], settings: LabelsConfig, seed: int) -> Split:
    """Use the parts that came with the images; without a validation part, part of the training images is kept apart for it."""
    named = [replace(image, part=part or "train") for image, part in zip(images, declared, strict=True)]
    _refuse_shared_groups(named)
    warnings = []
    blank = sum(part is None for part in declared)
    if blank:
        warnings.append(several(blank, "image has no part and is trained on", "images have no part and are trained on"))
    if any(image.group is None for image in named):
        warnings.append(f"the parts are those that came with the images; {UNKNOWN}")
    train = [image for image in named if image.part == "train"]
    others = [image for image in named if image.part != "train"]
    if not train or any(image.part == "validation" for image in others):
        return Split(named, warnings)
    groups, _, singly = _groups(train)
    split = _divide(train, groups, {"validation": settings.validation}, seed)
    kept = sum(image.part == "validation" for image in split.images)
    warnings.append(f"no validation images came with the data: {kept} of {len(train)} training images kept apart for it")
    return Split(sorted([*split.images, *others], key=lambda image: image.name), [*warnings, *split.warnings], singly)


def refuse_untrainable(images: Sequence[LabelledImage]) -> None:
    """Refuse images of which none is to be trained on: they can be evaluated only.

    Raises
    ------
    DataError
        If that is so.
    """
    if not any(image.part == "train" for image in images):
        there = ", ".join(sorted({image.part for image in images}))
        raise DataError(
            f"no image is named for training, only for {there}: expected some with the part train; "
            "sdmae evaluate measures a head on these"
        )


def _refuse_shared_groups(images: list[LabelledImage]) -> None:
    sides: dict[str, set[Part]] = defaultdict(set)
    for image in images:
        if image.group is not None:
            sides[image.group].add(image.part)
    shared = sorted(group for group, parts in sides.items() if len(parts) > 1)
    if shared:
        raise DataError(
            f"{len(shared)} of {len(sides)} groups are on both sides of the given split, such as {shared[0]} "
            f"({' and '.join(sorted(sides[shared[0]]))}): the figures would be too good. Correct the table, or remove the split "
            "(a split by group is then made)"
        )


def _refuse_shared_files(images: list[LabelledImage]) -> None:
    """Refuse a file in two parts, as one that is listed twice: it would be trained on and tested on, whatever its slide."""
    sides: dict[Path, set[Part]] = defaultdict(set)
    for image in images:
        sides[image.path].add(image.part)
    shared = sorted(path for path, parts in sides.items() if len(parts) > 1)
    if shared:
        raise DataError(
            f"{len(shared)} of {len(sides)} files are listed several times and in several parts, such as {shared[0]} "
            f"({' and '.join(sorted(sides[shared[0]]))}): the figures would be too good. List each once"
        )


def _groups(images: list[LabelledImage]) -> tuple[list[str], list[str], bool]:
    """Return what each image must stay together with, a warning where that cannot be known, and whether one group is divided."""
    alone = sum(image.group is None for image in images)
    names = [image.group or f"image {image.name}" for image in images]
    if not alone:
        if len(set(names)) == 1 and len(images) > 1:
            limit = "so single images were kept apart: the figures do not predict results on other slides"
            return [f"image {image.name}" for image in images], [f"all images are of {names[0]}, {limit}"], True
        return names, [], False
    if alone == len(images):
        return names, [UNKNOWN], False
    return names, [f"{alone} of {several(len(images), 'image has', 'images have')} no slide ID, so {INFLATED}. {REMEDY}"], False


def _divide(images: list[LabelledImage], groups: list[str], wanted: dict[Part, float], seed: int) -> Split:
    """Divide the groups so that amounts of each class come near the wanted fractions, and each part has each class if it can.

    Groups are handed out as in iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011): the rarest class
    first, each group to the part that lacks most of it. A part that still lacks a class then gets the smallest group with it
    that another part can spare.
    """
    names, members = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    fractions = {part: fraction for part, fraction in wanted.items() if fraction > 0}
    parts: list[Part] = [part for part in PARTS if part == "train" or part in fractions][: len(names)]
    shares = np.array([1 - sum(fractions.values()) if part == "train" else fractions[part] for part in parts])
    amounts = _amounts(images, members, len(names))
    order = np.argsort(random_bits(seed, 0, np.arange(len(names)), 1, SPLIT)[:, 0], kind="stable")
    order = order[np.argsort(-amounts[order, 0], kind="stable")]
    owner = _hand_out(amounts, shares / shares.sum(), order)
    _complete(amounts, owner, len(parts))
    split = [replace(image, part=parts[owner[member]]) for image, member in zip(images, members, strict=True)]
    return Split(split, _too_few(len(names), split, fractions))


def _amounts(images: list[LabelledImage], members: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Return images, and images that show each class, of each group; float (groups, 1 + classes)."""
    values = sorted({value for image in images for value, _ in image.counts})
    columns = {value: column for column, value in enumerate(values, 1)}
    amounts = np.zeros((count, 1 + len(values)))
    for image, member in zip(images, members, strict=True):
        amounts[member, 0] += 1
        for value, _ in image.counts:
            amounts[member, columns[value]] += 1
    return amounts


def _hand_out(amounts: NDArray[np.float64], shares: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the part of each group."""
    owner = np.full(len(amounts), -1)
    lacking = shares[:, None] * amounts.sum(axis=0)
    holders = (amounts[:, 1:] > 0).sum(axis=0)
    for column in [*(1 + np.argsort(holders, kind="stable")), 0]:
        for group in order:
            if owner[group] < 0 and amounts[group, column] > 0:
                owner[group] = max(range(len(shares)), key=lambda part: (lacking[part, column], lacking[part, 0]))
                lacking[owner[group]] -= amounts[group]
    return owner


def _complete(amounts: NDArray[np.float64], owner: NDArray[np.int64], parts: int) -> None:
    """Move the smallest group that can be spared to each part that is empty or lacks a class; changes `owner`."""
    present = amounts > 0
    for column in range(amounts.shape[1]):
        for part in range(parts):
            if present[owner == part, column].any():
                continue
            held = np.array([present[owner == one].sum(axis=0) for one in range(parts)])
            spare = [group for group in np.flatnonzero(present[:, column]) if (held[owner[group]][present[group]] > 1).all()]
            if spare:
                owner[min(spare, key=lambda group: (amounts[group, 0], group))] = part


def _too_few(groups: int, images: list[LabelledImage], wanted: dict[Part, float]) -> list[str]:
    """Return what must be said if parts stayed empty."""
    empty = [part for part in wanted if all(image.part != part for image in images)]
    return [f"too few images or groups ({groups}): none is kept apart for {' and '.join(empty)}"] if empty else []


def missing_classes(images: list[LabelledImage], names: dict[int, str]) -> list[str]:
    """Return a warning for each part that lacks a class."""
    warnings = []
    for part in PARTS:
        inside = [image for image in images if image.part == part]
        there = {value for image in inside for value, _ in image.counts}
        lacking = [name for value, name in names.items() if value not in there]
        if inside and lacking:
            warnings.append(f"the {part} part has no {', '.join(lacking)}: too few groups or images show it")
    return warnings
