"""Smaller versions of labels, for formats that hold pyramids: picked, never averaged, because labels are names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SMALLEST = 512
"""A level is halved while its longer edge is above this, px."""


def level_count(shape: tuple[int, ...]) -> int:
    """Return how many levels a pyramid of labels of this shape has."""
    count = 1
    while max(shape[:2]) >> (count - 1) > SMALLEST:
        count += 1
    return count


def level(labels: NDArray[np.int32], number: int) -> NDArray[np.int32]:
    """Return level `number` (0: all pixels): of each square of 2^number pixels the one at its middle. A view, no copy.

    The middle keeps what is shown at most half a full-resolution pixel from where it is; the first pixel of each square
    would shift it by nearly half a pixel of the level.
    """
    step = 2**number
    return labels[step // 2 :: step, step // 2 :: step]


def tiles(labels: NDArray[np.int32], edge: int, kind: np.dtype[np.unsignedinteger]) -> Iterator[NDArray[np.unsignedinteger]]:
    """Yield squares of `edge` px from left to right and top to bottom; the last of a row or column may be smaller."""
    for row in range(0, labels.shape[0], edge):
        for column in range(0, labels.shape[1], edge):
            yield labels[row : row + edge, column : column + edge].astype(kind)
