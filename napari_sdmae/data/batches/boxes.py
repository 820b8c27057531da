"""Boxes of detection, cut and moved with their tiles."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEAST_VISIBLE = 0.25
"""A box of which less of the area is left is dropped: what shows of the object would not be told as one."""
LEAST_PX = 1.0

Boxes = NDArray[np.float32]


def boxes_in_tile(boxes: Boxes, values: NDArray[np.int64], row: int, column: int, tile: int) -> dict[str, Tensor]:
    """Return the boxes (N, 4: left, upper, right, lower edge in px) that a tile shows, from its corner, and their values."""
    kept, shown = _clip(boxes - np.array([column, row, column, row], np.float32), tile)
    return {"boxes": torch.from_numpy(kept), "labels": torch.from_numpy(values[shown])}


def move_boxes(
    targets: list[dict[str, Tensor]], crops: NDArray[np.int64], turns: NDArray[np.float64], tile: int
) -> list[dict[str, Tensor]]:
    """Move boxes as :func:`~napari_sdmae.data.batches.augment.augment` moves their tiles.

    Parameters
    ----------
    targets
        ``boxes`` and ``labels`` of each tile of `tile` px.
    crops, turns
        From :func:`~napari_sdmae.data.batches.augment.placement`.
    """
    moved = []
    for target, crop, turn in zip(targets, crops, turns, strict=True):
        corners = target["boxes"].numpy().reshape(-1, 2, 2).astype(np.float64)
        centred = 2 * (corners - crop[1::-1]) / crop[:1:-1] - 1  # (x, y) from the centre of the crop
        placed = (centred @ turn + 1) / 2 * tile  # turn is orthogonal: a row times it is its inverse times the column
        boxes = np.concatenate([placed.min(axis=1), placed.max(axis=1)], axis=1).astype(np.float32)
        kept, shown = _clip(boxes, tile)
        moved.append({"boxes": torch.from_numpy(kept), "labels": target["labels"][torch.from_numpy(shown)]})
    return moved


def _clip(boxes: Boxes, tile: int) -> tuple[Boxes, NDArray[np.bool_]]:
    """Cut boxes at the border of a tile; return those that still show enough, and which they are."""
    boxes = boxes.reshape(-1, 4)
    cut = boxes.clip(0, tile)
    sides, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    shown = (sides >= LEAST_PX).all(axis=1) & (sides.prod(axis=1) >= LEAST_VISIBLE * whole.prod(axis=1))
    return cut[shown], shown
