"""COCO JSON: instance masks as run lengths or polygons, and boxes.

Run lengths are COCO's *uncompressed* form, a list of counts down the columns that begins with pixels outside: every COCO
reader knows it, it is exact, and writing it needs no other package. Coordinates are label pixels, (x, y) from the corner
of the first; ``info`` says where the labels lie in the source.

Category ids are class values where all can be (1 to 65,535); otherwise classes are numbered from 1 in the order of the ids, in
export as in training, so that no name is lost. 0 cannot be a class. pycocotools' own encoding of random masks equals these
counts. Writers raise RuntimeError: napari takes a ValueError for "no such writer" and goes on silently.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.atomic import atomic_path
from napari_sdmae.io.labels.coco.read import read_coco, read_coco_boxes
from napari_sdmae.io.labels.description import KEY, describe
from napari_sdmae.labels.label_map import LabelClass, LabelMap
from napari_sdmae.labels.objects import Window, check_labels, windows
from napari_sdmae.labels.outlines import outlines

__all__ = ["read_coco", "read_coco_boxes", "run_lengths", "write_coco", "write_coco_detections"]

Segmentation = Literal["rle", "polygon"]


def write_coco(
    label_map: LabelMap, path: Path, *, segmentation: Segmentation = "rle", image: str | None = None, overwrite: bool = False
) -> None:
    """Write one annotation per object, or per class where labels are no objects.

    Parameters
    ----------
    label_map
        What to write.
    path
        ``.json``.
    segmentation
        ``rle``: exact. ``polygon``: outlines; COCO's polygons can have no holes, so that objects with holes stay ``rle``.
    image
        Name of the picture the labels belong to; None: the file name of the label map's source.
    overwrite
        Whether a file that is there may be replaced.

    Raises
    ------
    ValueError
        If the labels are none.
    FileExistsError, OSError
        If the file is there, or cannot be written.
    """
    check_labels(label_map)
    rows, columns = label_map.labels.shape
    name = image if image is not None else Path(label_map.source).name
    picture = {"id": 1, "file_name": name, "width": columns, "height": rows}
    annotations = _annotations(label_map, segmentation)
    _write(path, _info(describe(label_map)), picture, label_map.classes, annotations, label_map, overwrite)


def write_coco_detections(
    boxes: NDArray[np.floating],
    values: Sequence[int],
    classes: Sequence[LabelClass],
    path: Path,
    *,
    size: tuple[int, int],
    scores: Sequence[float] | None = None,
    image: str = "",
    mpp: float | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    step: float = 1.0,
    overwrite: bool = False,
) -> None:
    """Write boxes of a detection head.

    Parameters
    ----------
    boxes
        (N, 4) px: x0, y0, x1, y1.
    values
        Class value of each box.
    classes
        All classes.
    path
        ``.json``.
    size
        (rows, columns) of the picture in px.
    scores
        Of each box, in [0, 1]; None if they are no predictions.
    image
        Name of the picture.
    mpp, origin, step
        Scale and place as in :class:`~napari_sdmae.labels.label_map.LabelMap`.
    overwrite
        Whether a file that is there may be replaced.

    Raises
    ------
    ValueError
        If there are not as many values or scores as boxes.
    FileExistsError, OSError
        If the file is there, or cannot be written.
    """
    if len(values) != len(boxes) or (scores is not None and len(scores) != len(boxes)):
        raise ValueError(f"{len(boxes)} boxes, {len(values)} classes, {len(scores or [])} scores: expected one for each box")
    about = {"mpp": mpp, "origin": list(origin), "step": step}
    picture = {"id": 1, "file_name": image, "width": int(size[1]), "height": int(size[0])}
    annotations = (
        {
            "id": number,
            "image_id": 1,
            "category_id": int(value),
            "bbox": [round(float(edge), 3) for edge in (x0, y0, x1 - x0, y1 - y0)],
            "area": round(float((x1 - x0) * (y1 - y0)), 3),
            "iscrowd": 0,
        }
        | ({} if scores is None else {"score": round(float(scores[number - 1]), 6)})
        for number, ((x0, y0, x1, y1), value) in enumerate(zip(boxes, values, strict=True), 1)
    )
    _write(path, _info(about), picture, classes, annotations, None, overwrite)


def run_lengths(mask: NDArray[np.bool_], window: Window, shape: tuple[int, ...]) -> list[int]:
    """Return the counts of a mask that fills `window` of a picture of `shape`: outside, inside, outside … down the columns."""
    rows = shape[0]
    padded = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    padded[:, 1:-1] = mask.T
    column, change = np.nonzero(np.diff(padded, axis=1))
    places = (column + window.columns.start) * rows + change + window.rows.start
    ends = np.concatenate([[0], places, [rows * shape[1]]])
    counts = np.diff(ends)
    return _joined(counts.tolist())


def _joined(counts: list[int]) -> list[int]:
    """Return counts without zeros inside: a run that goes on at the top of the next column is one run."""
    joined = counts[:1]
    for count in counts[1:]:
        if len(joined) > 1 and joined[-1] == 0:
            joined.pop()
            joined[-1] += count
        else:
            joined.append(count)
    return joined if joined[-1] or len(joined) == 1 else joined[:-1]


def _annotations(label_map: LabelMap, segmentation: Segmentation) -> Iterator[dict[str, Any]]:
    shape = label_map.labels.shape
    for number, window in enumerate(windows(label_map.labels), 1):
        mask = label_map.labels[window.place] == window.label
        polygons = outlines(mask) if segmentation == "polygon" else []
        without_holes = bool(polygons) and all(len(polygon) == 1 for polygon in polygons)
        corner = np.array([window.columns.start, window.rows.start])
        yield {
            "id": window.label if label_map.instances else number,
            "image_id": 1,
            "category_id": label_map.class_at(window.label).value,
            "segmentation": [(ring[0][:-1] + corner).ravel().tolist() for ring in polygons]
            if without_holes
            else {"size": list(shape), "counts": run_lengths(mask, window, shape)},
            "area": int(np.count_nonzero(mask)),
            "bbox": [*corner.tolist(), mask.shape[1], mask.shape[0]],
            "iscrowd": 0,
        }


def _info(about: Mapping[str, Any]) -> dict[str, Any]:
    place = {key: about[key] for key in ("mpp", "origin", "step")}
    note = "mpp: µm per full-resolution pixel of the source; origin (row, column) and step in such pixels"
    return {"description": "Written by napari-sdmae", "note": note, **place, KEY: dict(about)}


def _write(
    path: Path,
    info: Mapping[str, Any],
    picture: Mapping[str, Any],
    classes: Sequence[LabelClass],
    annotations: Iterable[Mapping[str, Any]],
    label_map: LabelMap | None,
    overwrite: bool,
) -> None:
    used: dict[int, LabelClass] = {one.value: one for one in classes}
    with atomic_path(path, overwrite) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f'{{"info": {_json(info)},\n"images": [{_json(picture)}],\n"annotations": [')
        between = "\n"
        for one in annotations:
            file.write(between + _json(one))
            between = ",\n"
            if label_map is not None:
                used.setdefault(one["category_id"], label_map.class_named(one["category_id"]))
        categories = [
            {"id": one.value, "name": one.name, "supercategory": "", "color": list(one.colour)} for one in used.values()
        ]
        file.write(f'\n],\n"categories": {_json(categories)}}}\n')


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
