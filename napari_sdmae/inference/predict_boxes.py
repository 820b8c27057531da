"""Boxes around the objects of a picture, window by window."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from napari_sdmae.inference.blocks import empty
from napari_sdmae.inference.fields import RGB, pad_to_multiple
from napari_sdmae.inference.prediction import Asked, Box
from napari_sdmae.inference.resampling import Seen
from napari_sdmae.models.finetuned import Finetuned
from napari_sdmae.models.sliding import starts

OVERLAP = 0.25
"""Share of a window that the next one sees as well: objects up to this size are whole in one of them."""
SAME_OBJECT = 0.5
"""Of two boxes of one class with a larger overlap (intersection over union) only the one with the higher score stays."""
SLACK = 4
"""Px by which two windows may differ about the middle of an object: it is better found twice than not at all."""
SURE = 0.5
"""Boxes with a lower score are left out."""


def detected(model: Finetuned, seen: Seen, asked: Asked) -> list[Box]:
    """Return the boxes in px of the picture, in reading order of their upper left corners.

    Every window answers for the objects that lie nearest to its middle, so that none is taken from where it was cut.
    """
    edge = model.spec.tile_size
    places = [starts(length, min(edge, length), OVERLAP) for length in (seen.rows, seen.columns)]
    found = [np.zeros((0, 6))]
    for number, top in enumerate(places[0]):
        band = seen.read(top, 0, min(edge, seen.rows - top), seen.columns)
        for first in range(0, len(places[1]), asked.batch):
            lefts = places[1][first : first + asked.batch]
            for left, boxes in zip(lefts, _boxes(model, [band[:, left : left + edge] for left in lefts], asked), strict=True):
                found.append(_own(boxes + (left, top, left, top, 0, 0), (number, first + lefts.index(left)), places, edge))
        asked.done(number + 1, len(places[0]))
    kept = _without_doubles(np.concatenate(found))
    factor = np.array([*seen.factor[::-1], *seen.factor[::-1], 1, 1])
    limits = np.array([seen.picture.width, seen.picture.height] * 2)
    table = kept / factor
    table[:, :4] = np.clip(table[:, :4], 0, limits)
    answer = [Box(left, top, right, bottom, int(value), score) for left, top, right, bottom, value, score in table.tolist()]
    return sorted(answer, key=lambda box: (box.top, box.left))


def rectangles(boxes: list[Box], shape: tuple[int, int], step: int) -> NDArray[np.int32]:
    """Return labels (rows, columns) of the boxes, numbered from 1, of one pixel for each `step` px; the surest lie on top."""
    labels: NDArray[np.int32] = empty(shape, np.int32)
    for number in sorted(range(len(boxes)), key=lambda number: boxes[number].score):
        box = boxes[number]
        top, left, bottom, right = (round(edge / step) for edge in (box.top, box.left, box.bottom, box.right))
        labels[top : max(bottom, top + 1), left : max(right, left + 1)] = number + 1
    return labels


@torch.inference_mode()
def _boxes(model: Finetuned, windows: list[RGB], asked: Asked) -> list[NDArray[np.float64]]:
    """Return of each window its boxes: left, top, right, bottom, class value, score, (N, 6)."""
    padded = np.stack([pad_to_multiple(window, model.spec.encoder.patch_size) for window in windows])
    with asked.context():
        answers = model(model.normalise(torch.from_numpy(padded).to(model.mean.device)))
    found = []
    for answer in answers:
        columns = answer["boxes"].float(), answer["labels"].float()[:, None], answer["scores"].float()[:, None]
        table = torch.cat(columns, 1).cpu().numpy().astype(np.float64)
        found.append(table[table[:, 5] >= SURE])
    return found


def _own(boxes: NDArray[np.float64], window: tuple[int, int], places: list[list[int]], edge: int) -> NDArray[np.float64]:
    """Return the boxes whose middle is nearest, but for a little slack, to the middle of this window of all windows."""
    kept = np.ones(len(boxes), bool)
    for side, (number, begins) in enumerate(zip(window, places, strict=True)):
        middle = (boxes[:, 1 - side] + boxes[:, 3 - side]) / 2
        distance = np.abs(middle[:, None] - (np.array(begins) + edge / 2))
        kept &= distance[:, number] <= distance.min(1) + SLACK
    return boxes[kept]


def _without_doubles(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the boxes without those of the same class that overlap a surer one by more than half."""
    table = torch.from_numpy(boxes).float()
    kept = batched_nms(table[:, :4], table[:, 5], table[:, 4].long(), SAME_OBJECT).numpy()
    return np.asarray(boxes[kept])
