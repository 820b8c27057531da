"""Shapes of a GeoJSON file or a Shapes layer drawn as labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.labels.draw_objects import area_of, empty_labels, large_first, said_of_overlap
from napari_sdmae.io.labels.geojson.features import Shape
from napari_sdmae.labels.outlines import Polygon, fill


@dataclass(frozen=True)
class PixelGrid:
    """Pixels to draw on: `shape` (rows, columns), `origin` (row, column) and `step` in full-resolution px."""

    shape: tuple[int, int]
    origin: tuple[float, float]
    step: float

    def on(self, polygon: Polygon) -> Polygon:
        """Return a polygon of full-resolution (x, y) in pixels of the grid."""
        return [(ring - (self.origin[1], self.origin[0])) / self.step for ring in polygon]


@dataclass(frozen=True)
class DrawnShapes:
    """Labels, nuclei, what to tell of shapes over others, and how many cover no pixel centre."""

    labels: NDArray[np.int32]
    nuclei: NDArray[np.int32] | None
    overlaps: list[str]
    empty: int


def draw_shapes(shapes: list[Shape], numbers: list[int], grid: PixelGrid, *, instances: bool, nuclei: bool) -> DrawnShapes:
    """Draw each shape with its number, large ones first; with `nuclei` also the parts of these that lie in their shape.

    Raises
    ------
    InvalidLabelsError
        If the grid is larger than can be held.
    """
    labels = empty_labels(grid.shape)
    covering, overlapping = [], 0
    for index in large_first([area_of(shape.polygons) for shape in shapes]):
        over = drawn = False
        for window, mask in _masks(shapes[index].polygons, grid):
            part = labels[window]
            over |= bool(((part != 0) & (part != numbers[index]) & mask).any())
            drawn |= bool(mask.any())
            part[mask] = numbers[index]
        overlapping += over
        covering += [numbers[index]] if drawn else []
    overlaps = said_of_overlap(labels, covering, overlapping, "objects" if instances else "classes")
    inner = _draw_nuclei(shapes, numbers, grid, labels) if nuclei else None
    return DrawnShapes(labels, inner, overlaps, len(shapes) - len(covering))


def _draw_nuclei(shapes: list[Shape], numbers: list[int], grid: PixelGrid, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    nuclei = np.zeros_like(labels)
    for shape, number in zip(shapes, numbers, strict=True):
        for window, mask in _masks(shape.nucleus, grid):
            nuclei[window][mask & (labels[window] == number)] = number
    return nuclei


def _masks(polygons: list[Polygon], grid: PixelGrid) -> Iterable[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Yield each polygon's window on the grid, and its mask there."""
    for polygon in polygons:
        rings = grid.on(polygon)
        low = np.floor(rings[0].min(axis=0)).clip(0).astype(int)
        high = np.ceil(rings[0].max(axis=0)).clip(0).astype(int)
        columns, rows = (slice(a, min(b, end)) for a, b, end in zip(low, high, grid.shape[::-1], strict=True))
        size = rows.stop - rows.start, columns.stop - columns.start
        if min(size) > 0:
            yield (rows, columns), fill([ring - low for ring in rings], size)
