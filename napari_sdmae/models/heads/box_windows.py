"""Boxes around the objects of an image of any size, window by window as the head was trained: for use and for its test alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.models.heads.sliding_window import OVERLAP, starts
from napari_sdmae.typing import RGB

Table = NDArray[np.float64]
Read = Callable[[int, int, int, int], RGB]

SAME_OBJECT = 0.5
"""Of two boxes of one class with a larger overlap (intersection over union) only the one with the higher score stays."""
SLACK = 4
"""Px by which two windows may differ about the middle of an object: it is better found twice than not at all."""


def window_boxes(
    model: HeadModel,
    size: tuple[int, int],
    read: Read,
    *,
    batch: int = 8,
    least: float = 0.0,
    autocast: AbstractContextManager[Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Return the boxes of an image, seen in windows of the head's tile size.

    Every window answers for the objects that lie nearest to its middle, so that none is taken from where it was cut; objects up
    to the size of the overlap are whole in one of them.

    Parameters
    ----------
    model
        A detection head, in eval mode.
    size
        (rows, columns) of the image in px, at the scale of the model.
    read
        Called with row, column, height and width; returns that part of the image, uint8 (height, width, 3). Rows never go up.
    batch
        Windows per forward pass.
    least
        Boxes of a lower score are left out.
    autocast
        Context of the forward passes that can be entered again and again; None: fp32.
    progress
        Called with the rows of windows done and of all.

    Returns
    -------
    NDArray
        (N, 6): left, upper, right, lower edge in px, class value, score.
    """
    edge = model.spec.tile_size
    places = [starts(length, min(edge, length), OVERLAP) for length in size]
    found = [np.zeros((0, 6))]
    for number, top in enumerate(places[0]):
        band = read(top, 0, min(edge, size[0] - top), size[1])
        for first in range(0, len(places[1]), batch):
            lefts = places[1][first : first + batch]
            windows = [band[:, left : left + edge] for left in lefts]
            answers = _boxes(model, windows, least, autocast or nullcontext())
            for column, (left, boxes) in enumerate(zip(lefts, answers, strict=True), first):
                found.append(_own(boxes + (left, top, left, top, 0, 0), (number, column), places, edge))
        if progress is not None:
            progress(number + 1, len(places[0]))
    return _without_doubles(np.concatenate(found))


@torch.inference_mode()
def _boxes(model: HeadModel, windows: list[RGB], least: float, autocast: AbstractContextManager[Any]) -> list[Table]:
    """Return the boxes (N, 6) of each window, cut at its border; what lies in the part reflected up to whole patches is none."""
    patch, (height, width) = model.spec.encoder.patch_size, windows[0].shape[:2]
    around = ((0, -height % patch), (0, -width % patch), (0, 0))
    padded = np.stack([np.pad(window, around, mode="symmetric") for window in windows])
    with autocast:
        answers = model(model.normalise(torch.from_numpy(padded).to(model.mean.device)))
    found = []
    for answer in answers:
        columns = answer["boxes"].float(), answer["labels"].float()[:, None], answer["scores"].float()[:, None]
        table = torch.cat(columns, 1).cpu().numpy().astype(np.float64)
        table[:, :4] = np.clip(table[:, :4], 0, [width, height, width, height])
        shown = (table[:, 2] > table[:, 0]) & (table[:, 3] > table[:, 1])
        found.append(table[shown & (table[:, 5] >= least)])
    return found


def _own(boxes: Table, window: tuple[int, int], places: list[list[int]], edge: int) -> Table:
    """Return the boxes whose middle is nearest, but for a little slack, to the middle of this window of all windows."""
    kept = np.ones(len(boxes), bool)
    for side, (number, begins) in enumerate(zip(window, places, strict=True)):
        middle = (boxes[:, 1 - side] + boxes[:, 3 - side]) / 2
        distance = np.abs(middle[:, None] - (np.array(begins) + edge / 2))
        kept &= distance[:, number] <= distance.min(1) + SLACK
    return boxes[kept]


def _without_doubles(boxes: Table) -> Table:
    """Return the boxes without those of the same class that overlap a surer one by more than half."""
    table = torch.from_numpy(boxes).float()
    kept = batched_nms(table[:, :4], table[:, 5], table[:, 4].long(), SAME_OBJECT).numpy()
    return np.asarray(boxes[kept])
