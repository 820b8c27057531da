"""Two views of a tile: a crop, and the same crop moved by whole patches, so that it is known which patch is which.

The two differ in what surrounds a patch and in where it stands, and, when stain is jittered, in colour: none of these is a way
to recognise it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def patch_shifts(numbers: Array, boxes: Indices, grid: int, edge: int) -> Indices:
    """Return by how many of its patches each box is moved, at random, at most by half of itself and inside its tile.

    Parameters
    ----------
    numbers
        Uniform in [0, 1), (B, 2): for rows and columns.
    boxes
        (B, 4): row, column, height, width in px.
    grid
        Patches along an edge of the box.
    edge
        Edge of the tiles, in px.

    Returns
    -------
    ndarray
        int64 (B, 2): rows and columns in patches of the box; 0 where the box fills its tile.
    """
    patch = boxes[:, 2:] / grid
    low = np.ceil(-boxes[:, :2] / patch).clip(min=-(grid // 2))
    high = np.floor((edge - boxes[:, :2] - boxes[:, 2:]) / patch).clip(max=grid // 2)
    shifts: Indices = np.floor(low + (high - low + 1) * numbers).clip(low, high).astype(np.int64)
    return shifts


def turned_shifts(shifts: Indices, turns: Array) -> Indices:
    """Return `shifts` (B, 2: rows, columns) as they appear after the turns (B, 2, 2) from (x, y) in the result to the crop."""
    turned = np.einsum("bij,bi->bj", turns, shifts[:, ::-1])
    result: Indices = np.rint(turned[:, ::-1]).astype(np.int64)
    return result


def corresponding_patches(shifts: Indices, grid: int) -> Indices:
    """Return for each patch of a view its index in a view moved by `shifts` (B, 2) patches, -1 where it is outside.

    Returns
    -------
    ndarray
        int64 (B, L), raster indices.
    """
    rows, columns = np.divmod(np.arange(grid**2), grid)
    rows, columns = rows - shifts[:, :1], columns - shifts[:, 1:]
    inside = (rows >= 0) & (rows < grid) & (columns >= 0) & (columns < grid)
    return np.where(inside, rows * grid + columns, -1)


def choose_patches(numbers: Array, candidates: NDArray[np.bool_], count: int) -> Indices:
    """Return `count` of the `candidates` (B, L) of each row, at random by `numbers` (B, L): int64 (B, count)."""
    order = np.argsort(np.where(candidates, numbers, -1.0), axis=1, kind="stable")
    return order[:, order.shape[1] - count :].astype(np.int64)
