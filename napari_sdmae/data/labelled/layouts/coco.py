"""Boxes in COCO's JSON: images, annotations and categories. No torch."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from napari_sdmae.config.finetune import Part
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.files import NamedFiles
from napari_sdmae.data.labelled.labelled_set import Box, ImageEntry, LayoutListing
from napari_sdmae.data.labelled.layouts.tables import annotate
from napari_sdmae.data.labelled.parts import part_of
from napari_sdmae.data.listing import Listing
from napari_sdmae.io.labels.coco.categories import read_categories
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.text.documents import DocumentError, read_json
from napari_sdmae.text.spelling import one_form

Json = dict[str, Any]
TOLD = ("patient", "slide", "group", "split", "mpp")
"""Keys of an image, beyond COCO's own, that are understood as the columns of a table."""


def list_coco(data: Path, lies: Listing | None = None) -> LayoutListing:
    """List the images of a COCO file, or of the COCO files in a folder (train, validation and test are the parts they name).

    Of a folder that was listed already, `lies` is what was found.

    Images without objects are kept; crowds are left out; boxes are cut at the border of their image.

    Raises
    ------
    DataError
        If there is no such file, or one is no COCO file.
    """
    files = _coco_files(data)
    named = NamedFiles(files[0][0].parent, lies)
    listings = [_list_file(path, part, named) for path, part in files]
    classes = listings[0].classes
    for (path, _), listing in zip(files, listings, strict=True):
        if [one.name for one in listing.classes] != [one.name for one in classes]:
            raise DataError(f"{path} has other categories than {files[0][0]}: all parts need the same ones")
    items = [item for listing in listings for item in listing.items]
    return LayoutListing(items, classes, [warning for listing in listings for warning in listing.warnings])


def _coco_files(data: Path) -> list[tuple[Path, Part | None]]:
    if data.is_file():
        return [(data, None)]
    found = [path for path in sorted(data.glob("*.json")) if path.name != "classes.json" and not path.name.startswith(".")]
    named = [(path, part_of(path.stem.removeprefix("instances_"))) for path in found]
    parts = [(path, part) for path, part in named if part is not None]
    if parts:
        return [*parts]
    chosen = [path for path in found if path.name == "annotations.json"] or found
    if len(chosen) != 1:
        raise DataError(
            f"{len(chosen)} JSON files in {data}: expected one COCO file annotations.json, or train.json, validation.json "
            "and test.json, beside the images"
        )
    return [(chosen[0], None)]


def _list_file(path: Path, part: Part | None, files: NamedFiles) -> LayoutListing:
    content = _read(path)
    classes, values = _classes(content["categories"], path)
    boxes, problems = _boxes(content, values)
    items = [_item(image, files, part, boxes[image["id"]]) for image in content["images"]]
    warnings = [f"{path.name}: {number} {what}" for what, number in sorted(problems.items())]
    return LayoutListing(items, classes, warnings)


def _read(path: Path) -> Json:
    try:
        content = read_json(path)
    except (OSError, DocumentError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error})") from error
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or any(not isinstance(content.get(key), list) for key in keys):
        raise DataError(f"{path} is no COCO file: expected the lists images, annotations and categories")
    entries = (
        ("images", ("id", "file_name")),
        ("annotations", ("image_id", "category_id", "bbox")),
        ("categories", ("id", "name")),
    )
    for key, needed in entries:
        wrong = next(
            (entry for entry in content[key] if not isinstance(entry, dict) or any(one not in entry for one in needed)), None
        )
        if wrong is not None:
            raise DataError(f"{path}: an entry of {key} lacks {', '.join(needed)}: {json.dumps(wrong)[:80]}")
    if not content["categories"]:
        raise DataError(f"{path} has no categories: each box needs the class it shows")
    return content


def _classes(categories: list[Json], path: Path) -> tuple[tuple[LabelClass, ...], Mapping[Any, int]]:
    """Return the classes, and the class value of each category."""
    try:
        found = read_categories(categories)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    return found.classes, found.values


def _boxes(content: Json, values: Mapping[Any, int]) -> tuple[dict[Any, list[Box]], Counter[str]]:
    """Return the boxes of each image id, and how many annotations were left out for which reason."""
    sizes = {image["id"]: (image.get("width"), image.get("height")) for image in content["images"]}
    boxes: dict[Any, list[Box]] = defaultdict(list)
    problems: Counter[str] = Counter()
    for annotation in content["annotations"]:
        if annotation["image_id"] not in sizes:
            problems["boxes belong to no image and are left out"] += 1
        elif annotation["category_id"] not in values:
            problems["boxes have a category that is not listed and are left out"] += 1
        elif annotation.get("iscrowd"):
            problems["crowds are left out"] += 1
        else:
            box = _corners(annotation["bbox"], *sizes[annotation["image_id"]])
            if box is None:
                problems["boxes are invalid (no area inside the image) and are left out"] += 1
            else:
                boxes[annotation["image_id"]].append((*box, values[annotation["category_id"]]))
    return boxes, problems


def _corners(box: Any, width: float | None, height: float | None) -> tuple[float, float, float, float] | None:
    """Return left, upper, right and lower edge of COCO's (left, upper, width, height), cut at the border, or None."""
    try:
        left, upper, across, down = (float(value) for value in box)
    except (TypeError, ValueError):
        return None
    if not all(map(isfinite, (left, upper, across, down))) or across <= 0 or down <= 0:
        return None
    right, lower = min(left + across, width or float("inf")), min(upper + down, height or float("inf"))
    left, upper = max(left, 0.0), max(upper, 0.0)
    return (left, upper, right, lower) if right > left and lower > upper else None


def _item(image: Json, files: NamedFiles, part: Part | None, boxes: list[Box]) -> ImageEntry:
    name = str(image["file_name"]).replace("\\", "/")
    path, unclear = files.find(name, ("", "images"))
    row = {key: str(image[key]) for key in TOLD if image.get(key) not in (None, "")}
    return replace(annotate(ImageEntry(path, one_form(name), part, problem=unclear), row), boxes=tuple(boxes))
