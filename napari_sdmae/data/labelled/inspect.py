"""A look through labelled images before training: what is there, per part and class, and what is wrong with it. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.labelled_set import PARTS, LabelledImage, LabelledSet
from napari_sdmae.data.labelled.read import read_labelled

AMOUNTS = {"segmentation": "pixels", "instances": "objects", "detection": "objects", "classification": "images"}


def inspect_labelled(config: FinetuneConfig) -> dict[str, Any]:
    """Look through the labelled images of `config`: headers of the images, and all label images.

    Returns
    -------
    dict
        Plain values: ``problem`` (why a run would refuse to start; empty if it would not), and if there is none ``task``,
        ``images``, ``classes`` (value, name, colour), ``amount`` (what is counted: pixels, objects or images), ``parts`` (for
        train, validation and test: images, groups, ``amounts`` and ``images_with`` by class name), ``grouped_by`` (patient,
        slide, group or None), ``sizes`` (smallest and largest height and width in px), ``mpp`` (smallest, largest, and how many
        images are of unknown scale), ``unusable`` (name, reason), ``warnings``, ``notes`` (tables used),
        ``fingerprint``, ``summary`` (lines for people).
    """
    try:
        labelled = read_labelled(config, decode=False)
    except DataError as error:
        return {"problem": str(error), "data": str(Path(config.data)), "task": config.task}
    found = {
        "problem": "",
        "data": str(Path(config.data)),
        "task": labelled.task,
        "images": len(labelled.images),
        "classes": [one.model_dump(mode="json") for one in labelled.classes],
        "amount": AMOUNTS[labelled.task],
        "parts": {part: _part(labelled.part(part), labelled) for part in PARTS},
        "grouped_by": _grouped_by(labelled.images),
        "sizes": _sizes(labelled.images),
        "mpp": _scales(labelled.images),
        "unusable": [list(one) for one in labelled.unusable],
        "warnings": list(labelled.warnings),
        "notes": list(labelled.notes),
        "fingerprint": labelled.fingerprint,
    }
    return found | {"summary": _summary(found)}


def _part(images: Sequence[LabelledImage], labelled: LabelledSet) -> dict[str, Any]:
    names = {one.value: one.name for one in labelled.classes}
    amounts, images_with = dict.fromkeys(names.values(), 0), dict.fromkeys(names.values(), 0)
    for image in images:
        for value, amount in image.counts:
            amounts[names[value]] += amount
            images_with[names[value]] += 1
    groups = len({image.group for image in images if image.group})
    return {"images": len(images), "groups": groups, "amounts": amounts, "images_with": images_with}


def _grouped_by(images: Sequence[LabelledImage]) -> str | None:
    return next((image.group.split(" ", 1)[0] for image in images if image.group), None)


def _sizes(images: Sequence[LabelledImage]) -> dict[str, list[int]]:
    ordered = sorted((image.size for image in images), key=lambda size: size[0] * size[1])
    return {"smallest": list(ordered[0]), "largest": list(ordered[-1])}


def _scales(images: Sequence[LabelledImage]) -> dict[str, Any]:
    known = [image.mpp for image in images if image.mpp]
    return {
        "smallest": min(known, default=None),
        "largest": max(known, default=None),
        "unknown": len(images) - len(known),
    }


def _summary(found: dict[str, Any]) -> str:
    parts = ", ".join(f"{found['parts'][part]['images']:,} {part}" for part in PARTS)
    lines = [f"{found['images']:,} labelled images can be used, {len(found['unusable']):,} cannot: {parts}"]
    lines.append(f"kept together: by {found['grouped_by']}" if found["grouped_by"] else "kept together: nothing, single images")
    for one in found["classes"]:
        shown = ", ".join(f"{found['parts'][part]['amounts'][one['name']]:,} {part}" for part in PARTS)
        lines.append(f"{one['name']} ({found['amount']}): {shown}")
    scale = found["mpp"]
    known = "unknown" if scale["smallest"] is None else f"{scale['smallest']:.3g} to {scale['largest']:.3g} µm/px"
    return "\n".join([*lines, f"scale: {known}", *found["notes"], *found["warnings"]])
