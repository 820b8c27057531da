"""Boxes around the objects of a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.inference.prediction.rescale import RescaledPicture
from napari_sdmae.inference.prediction.result import Box, PredictionOptions
from napari_sdmae.io.images.blocks import empty
from napari_sdmae.models.heads.box_windows import window_boxes
from napari_sdmae.models.heads.head_model import HeadModel


def detected(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions) -> list[Box]:
    """Return the boxes in px of the picture, in reading order of their upper left corners."""
    size = seen.rows, seen.columns
    batch, least = asked.batch, asked.least
    kept = window_boxes(model, size, seen.read, batch=batch, least=least, autocast=asked.autocast, progress=asked.done)
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
