"""COCO JSON back to labels or boxes: run lengths, compressed or not, and polygons."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.geojson_features import load_json
from napari_sdmae.io.label_description import KEY, restore
from napari_sdmae.io.label_files import UnusableLabels
from napari_sdmae.io.outlines import fill
from napari_sdmae.label_map import LabelClass, LabelMap, colour_of


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one picture: (N, 4) px x0 y0 x1 y1, class value of each, score of each (NaN if it has none)."""

    boxes: NDArray[np.float64]
    values: NDArray[np.int64]
    scores: NDArray[np.float64]
    classes: tuple[LabelClass, ...]
    size: tuple[int, int]
    image: str


def read_coco(path: Path | str, *, image: str | None = None, mpp: float | None = None, like: LabelMap | None = None) -> LabelMap:
    """Read the masks of one picture as numbered objects; ours as what they were.

    Annotations that lie over others are drawn over them; a :class:`UserWarning` says how many did, and how many have a box
    only and are left out.

    Parameters
    ----------
    path
        A COCO file of instances.
    image
        File name of the picture, where there are several.
    mpp
        µm per full-resolution pixel; None: as the file says.
    like
        Labels whose scale and place are taken instead.

    Raises
    ------
    UnusableLabels
        If the file is no COCO, has several pictures and none is named, or is damaged.
    """
    data = _load(Path(path))
    picture = _picture(data, image)
    ours = data.get("info", {}).get(KEY, {}) if isinstance(data.get("info"), dict) else {}
    described = "instances" in ours
    instances = bool(ours.get("instances", True))
    annotations = [one for one in data["annotations"] if one["image_id"] == picture["id"]]
    try:
        labels, class_of = _draw(annotations, (int(picture["height"]), int(picture["width"])), instances, described)
        classes = tuple(_class(one) for one in data["categories"] if int(one["id"]) > 0)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UnusableLabels(f"an annotation is damaged ({type(error).__name__}: {error})") from None
    if described:
        restored = restore(ours | {"class_of": {}} | ({} if mpp is None else {"mpp": mpp}), labels)
        base = {**restored.__dict__, "class_of": class_of, "classes": restored.classes or classes}
    else:
        base = {"labels": labels, "classes": classes, "instances": True, "class_of": class_of, "mpp": mpp}
        base["source"] = str(picture.get("file_name", ""))
    if like is not None:
        base |= {"mpp": like.mpp if mpp is None else mpp, "origin": like.origin, "step": like.step, "source": like.source}
    return LabelMap(**base)


def read_coco_boxes(path: Path | str, *, image: str | None = None) -> Boxes:
    """Read the boxes of one picture.

    Raises
    ------
    UnusableLabels
        As :func:`read_coco`.
    """
    data = _load(Path(path))
    picture = _picture(data, image)
    found = [one for one in data["annotations"] if one["image_id"] == picture["id"] and "bbox" in one]
    try:
        corners = np.array([one["bbox"] for one in found], float).reshape(-1, 4)
        values = np.array([one["category_id"] for one in found], np.int64)
        scores = np.array([one.get("score", np.nan) for one in found], float)
        classes = tuple(_class(one) for one in data["categories"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableLabels(f"a box is damaged ({type(error).__name__}: {error})") from None
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    size = int(picture["height"]), int(picture["width"])
    return Boxes(boxes, values, scores, classes, size, str(picture.get("file_name", "")))


def _decompressed(text: str) -> list[int]:
    """Return the counts of COCO's text: 5 bits per character from 48 on, bit 6 = goes on; from the third, differences."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        value = bits = 0
        more = True
        while more:
            code = ord(text[place]) - 48
            value |= (code & 31) << bits
            more = bool(code & 32)
            place, bits = place + 1, bits + 5
            if not more and code & 16:
                value -= 1 << bits
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def _draw(
    annotations: list[Mapping[str, Any]], shape: tuple[int, int], instances: bool, described: bool
) -> tuple[NDArray[np.int32], dict[int, int]]:
    labels = np.zeros(shape, np.int32)
    class_of: dict[int, int] = {}
    overlapping = left_out = 0
    for number, one in enumerate(annotations, 1):
        label = (int(one["id"]) if described else number) if instances else int(one["category_id"])
        found = _indices(one.get("segmentation"), shape)
        if found is None:
            left_out += 1
            continue
        before = labels[found]
        overlapping += bool(((before != 0) & (before != label)).any())
        labels[found] = label
        if instances:
            class_of[label] = int(one["category_id"])
    if overlapping:
        warnings.warn(f"{overlapping} objects lie over others: where they do, the later one is kept", stacklevel=4)
    if left_out:
        warnings.warn(f"left out, because they have no mask: {left_out} annotations", stacklevel=4)
    return labels, class_of


def _indices(segmentation: Any, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the (rows, columns) of the pixels of a segmentation; None if there is none."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        size = tuple(int(length) for length in segmentation["size"])
        if size != shape:
            raise ValueError(f"run lengths for a picture of {size}, expected {shape} (rows, columns)")
        return _indices_of_counts(segmentation["counts"], shape)
    rows, columns = [], []
    for flat in segmentation:
        ring = np.asarray(flat, float).reshape(-1, 2)
        low = np.floor(ring.min(axis=0)).clip(0).astype(np.int64)
        size_here = np.minimum(np.ceil(ring.max(axis=0)).astype(np.int64), shape[::-1]) - low
        if size_here.min() > 0:
            mask = fill([np.concatenate([ring, ring[:1]]) - low], (int(size_here[1]), int(size_here[0])))
            row, column = np.nonzero(mask)
            rows.append(row + low[1])
            columns.append(column + low[0])
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *rows]), np.concatenate([empty, *columns])


def _indices_of_counts(counts: list[int] | str, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lengths = np.array(_decompressed(counts) if isinstance(counts, str) else counts, np.int64)
    if lengths.sum() != shape[0] * shape[1] or (lengths < 0).any():
        raise ValueError(f"run lengths of {lengths.sum()} px for a picture of {shape[1]} × {shape[0]} px")
    inside = lengths[1::2]
    starts = np.cumsum(lengths)[::2][: len(inside)]
    within = np.arange(inside.sum()) - np.repeat(np.cumsum(inside) - inside, inside)
    column, row = np.divmod(np.repeat(starts, inside) + within, shape[0])
    return row, column


def _load(path: Path) -> dict[str, Any]:
    data = load_json(path)
    if not is_coco(data):
        raise UnusableLabels("no COCO file: expected images, annotations and categories")
    return dict(data)


def is_coco(data: Any) -> bool:
    """Tell whether a JSON is a COCO file of annotations."""
    return isinstance(data, dict) and all(isinstance(data.get(key), list) for key in ("images", "annotations", "categories"))


def _picture(data: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    pictures = data["images"]
    found = [one for one in pictures if name is None or one.get("file_name") == name]
    if len(found) == 1:
        return dict(found[0])
    if name is not None:
        raise UnusableLabels(f"no picture {name!r} in it" if not found else f"several pictures {name!r} in it")
    raise UnusableLabels(f"{len(pictures)} pictures in it: say which" if pictures else "no picture in it")


def _class(category: Mapping[str, Any]) -> LabelClass:
    value = int(category["id"])
    red, green, blue = category.get("color") or colour_of(value)
    return LabelClass(value=value, name=str(category["name"]), colour=(int(red), int(green), int(blue)))
