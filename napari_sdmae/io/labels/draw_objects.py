"""Objects drawn into one label image, small ones over large ones: a region that was drawn around cells does not swallow them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.humanize import several
from napari_sdmae.io.images.read import MAX_PIXELS
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.labels.objects import present
from napari_sdmae.labels.outlines import Polygon

NAMED = 5
"""Most object numbers that a message lists."""


def empty_labels(shape: Sequence[int]) -> NDArray[np.int32]:
    """Return labels (rows, columns) of zeros; see :func:`check_size`."""
    check_size(shape)
    return np.zeros(tuple(shape), np.int32)


def check_size(shape: Sequence[int]) -> None:
    """Raise `InvalidLabelsError` if a shape (rows, columns) is none, or larger than can be held."""
    rows, columns = shape
    if min(rows, columns) < 1 or rows * columns > MAX_PIXELS:
        raise InvalidLabelsError(
            f"labels of {columns:,} × {rows:,} px: expected at least 1 × 1 and at most {MAX_PIXELS / 1e6:,.0f} megapixels"
        )


def large_first(areas: Sequence[float]) -> list[int]:
    """Return the order in which objects of these areas are drawn: large before small, equal ones in their order."""
    return sorted(range(len(areas)), key=lambda index: -areas[index])


def area_of(polygons: Sequence[Polygon]) -> float:
    """Return the area of polygons, holes taken off."""
    return sum(abs(_signed(polygon[0])) - sum(abs(_signed(hole)) for hole in polygon[1:]) for polygon in polygons)


def _signed(ring: NDArray[np.float64]) -> float:
    x, y = (ring - ring[0]).T  # near the origin: large coordinates cost digits
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2


def said_of_overlap(labels: NDArray[np.int32], drawn: Sequence[int], overlapping: int, what: str = "objects") -> list[str]:
    """Return what to tell of objects that lie over others.

    Parameters
    ----------
    labels
        With all objects drawn.
    drawn
        The number of each object that covers a pixel.
    overlapping
        How many were drawn over others.
    what
        What the numbers stand for.
    """
    if not overlapping:
        return []
    over = several(overlapping, "object lies over others: where it does", "objects lie over others: where they do")
    said = [f"{over}, the smaller one (of equal ones the later) is kept"]
    lost = sorted(set(drawn) - set(present(labels)))
    if lost:
        state = "lies wholly under others and is lost" if len(lost) == 1 else "lie wholly under others and are lost"
        numbers = ", ".join(map(str, lost[:NAMED])) + (", …" if len(lost) > NAMED else "")
        said.append(f"{len(lost)} of {len(set(drawn))} {what} {state}: {numbers}")
    return said


def said_of_empty(count: int) -> str:
    """Return what to tell of objects, `count` of them, that cover no pixel centre."""
    return f"{several(count, 'object covers', 'objects cover')} no pixel: too small or outside"
