"""COCO JSON back to labels or boxes: run lengths, compressed or not, and polygons."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.humanize import several
from napari_sdmae.io.labels.coco.categories import Categories, read_categories
from napari_sdmae.io.labels.description import KEY, restore
from napari_sdmae.io.labels.draw_objects import area_of, empty_labels, large_first, said_of_empty, said_of_overlap
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.geojson.features import load_json
from napari_sdmae.labels.label_map import LabelClass, LabelMap
from napari_sdmae.labels.outlines import fill
from napari_sdmae.text.spelling import ByName


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

    Small objects are drawn over large ones; a :class:`UserWarning` says how many lie over others, which are lost, how many have a
    box only and are left out, belong to no picture, or have a category that is not listed.

    Parameters
    ----------
    path
        A COCO file of instances.
    image
        File name of the picture, with or without its folders, where there are several.
    mpp
        µm per full-resolution pixel; None: as the file says.
    like
        Labels whose scale and place are taken instead.

    Raises
    ------
    InvalidLabelsError
        If the file is no COCO, has several pictures and none is named, or is damaged.
    """
    data = _load(Path(path), kept=image is not None)
    picture = _picture(data, image)
    ours = data.get("info", {}).get(KEY, {}) if isinstance(data.get("info"), dict) else {}
    described = "instances" in ours
    instances = bool(ours.get("instances", True))
    try:
        annotations, alone = _annotations(data, picture)
        shape = int(picture["height"]), int(picture["width"])
        categories = read_categories(data.get("categories") or [], [one.get("category_id", 1) for one in annotations])
        drawing = _draw(annotations, shape, categories, instances, described)
    except InvalidLabelsError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise InvalidLabelsError(f"an annotation is damaged ({type(error).__name__}: {error})") from None
    orphans = [f"left out, as their picture is not listed: {several(alone, 'annotation', 'annotations')}"] if alone else []
    for said in [*drawing.said, *categories.warnings, *orphans]:
        warnings.warn(said, stacklevel=2)
    labels, class_of = drawing.labels, drawing.class_of
    if described:
        restored = restore(ours | {"class_of": {}} | ({} if mpp is None else {"mpp": mpp}), labels)
        base = {**restored.__dict__, "class_of": class_of, "classes": restored.classes or categories.classes}
    else:
        base = {"labels": labels, "classes": categories.classes, "instances": True, "class_of": class_of, "mpp": mpp}
        base["source"] = str(picture.get("file_name", ""))
    if like is not None:
        base |= {"mpp": like.mpp if mpp is None else mpp, "origin": like.origin, "step": like.step, "source": like.source}
    return LabelMap(**base)


def read_coco_boxes(path: Path | str, *, image: str | None = None) -> Boxes:
    """Read the boxes of one picture.

    Raises
    ------
    InvalidLabelsError
        As :func:`read_coco`.
    """
    data = _load(Path(path))
    picture = _picture(data, image)
    found = [one for one in data["annotations"] if one["image_id"] == picture["id"] and "bbox" in one]
    try:
        categories = read_categories(data.get("categories") or [], [one.get("category_id", 1) for one in found])
        corners = np.array([one["bbox"] for one in found], float).reshape(-1, 4)
        values = np.array([categories.values[one.get("category_id", 1)] for one in found], np.int64)
        scores = np.array([one.get("score", np.nan) for one in found], float)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidLabelsError(f"a box is damaged ({type(error).__name__}: {error})") from None
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    size = int(picture["height"]), int(picture["width"])
    return Boxes(boxes, values, scores, categories.classes, size, str(picture.get("file_name", "")))


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


@dataclass(frozen=True)
class DrawnAnnotations:
    """Labels, the class value of each, and what to tell of objects that are not as they were."""

    labels: NDArray[np.int32]
    class_of: dict[int, int]
    said: list[str]


def _annotations(data: Mapping[str, Any], picture: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    """Return the annotations of a picture, and how many belong to none."""
    known = {one["id"] for one in data["images"]}
    alone = sum(one["image_id"] not in known for one in data["annotations"])
    return [one for one in data["annotations"] if one["image_id"] == picture["id"]], alone


def _draw(
    annotations: Sequence[Mapping[str, Any]], shape: tuple[int, int], categories: Categories, instances: bool, described: bool
) -> DrawnAnnotations:
    labels = empty_labels(shape)
    class_of: dict[int, int] = {}
    covering, overlapping, left_out = [], 0, 0
    for index in large_first([_area(one.get("segmentation")) for one in annotations]):
        one = annotations[index]
        value = categories.values[one.get("category_id", 1)]
        label = (int(one["id"]) if described else index + 1) if instances else value
        found = _indices(one.get("segmentation"), shape)
        if found is None:
            left_out += 1
            continue
        before = labels[found]
        overlapping += bool(((before != 0) & (before != label)).any())
        labels[found] = label
        covering += [label] if len(found[0]) else []
        if instances:
            class_of[label] = value
    said = said_of_overlap(labels, covering, overlapping, "objects" if instances else "classes")
    said += [f"left out, without a mask: {several(left_out, 'annotation', 'annotations')}"] if left_out else []
    empty = len(annotations) - left_out - len(covering)
    said += [said_of_empty(empty)] if empty else []
    return DrawnAnnotations(labels, dict(sorted(class_of.items())), said)


def _area(segmentation: Any) -> float:
    """Return the pixels of run lengths, or the area of polygons."""
    if not segmentation:
        return 0
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        return float(np.sum((_decompressed(counts) if isinstance(counts, str) else counts)[1::2]))
    rings = (np.asarray(flat, float).reshape(-1, 2) for flat in segmentation)
    return sum(area_of([[np.concatenate([ring, ring[:1]])]]) for ring in rings)


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


def _load(path: Path, kept: bool = False) -> dict[str, Any]:
    data = _kept(path, _changed(path)) if kept else load_json(path)
    if not is_coco(data):
        raise InvalidLabelsError("no COCO file: expected lists of images and annotations")
    return dict(data)


def is_coco(data: Any) -> bool:
    """Tell whether a JSON is a COCO file of annotations; one without categories is."""
    keys = ("images", "annotations")
    return isinstance(data, dict) and all(
        isinstance(data.get(key), list) and all(isinstance(one, dict) for one in data[key]) for key in keys
    )


def coco_pictures(path: Path | str) -> list[str]:
    """Return the file names of the pictures in a COCO file, by any of which :func:`read_coco` reads one; nothing of other JSON.

    Raises
    ------
    InvalidLabelsError
        If the file is no JSON.
    """
    data = _kept(Path(path), _changed(Path(path)))
    return [str(one.get("file_name", "")) for one in data["images"]] if is_coco(data) else []


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0


@lru_cache(maxsize=1)
def _kept(path: Path, changed: float) -> Any:
    """Return a JSON; kept for the pictures that are read from it one after another."""
    return load_json(path)


def _picture(data: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    pictures = data["images"]
    names = [str(one.get("file_name", "")).replace("\\", "/") for one in pictures]
    whole = ByName(zip(names, pictures, strict=True))
    short = ByName((PurePosixPath(one).name, picture) for one, picture in zip(names, pictures, strict=True))
    found = pictures if name is None else whole.all(name.replace("\\", "/")) or short.all(name)
    if len(found) == 1:
        return dict(found[0])
    some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    if name is not None:
        raise InvalidLabelsError(f"{len(found) or 'no'} pictures {name!r} in it: there are {some}")
    raise InvalidLabelsError(f"{len(pictures)} pictures in it ({some}): say which (--image)" if pictures else "no picture in it")
