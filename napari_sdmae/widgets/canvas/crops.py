"""Where labels lie on their image, and the pieces it is cut into around them: geometry of layers, read only where needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.data.labelled.labelled_set import Box
from napari_sdmae.layers.base import Source
from napari_sdmae.widgets.canvas.picture import picture_of
from napari_sdmae.widgets.canvas.write_layers import finest_level

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LayerPair:
    """An image layer and the Labels or Shapes layer over it."""

    image: Any
    labels: Any


@dataclass(frozen=True, eq=False)
class ImagePlane:
    """One picture: a slice of the image at full resolution, with the map from its (row, column) to the labels' data."""

    pair: LayerPair
    index: tuple[int, ...]
    label_index: tuple[int, ...]
    origin: Floats
    matrix: Floats

    def to_image(self, points: Floats) -> Floats:
        """Return image (row, column) of label coordinates (N, 2)."""
        return np.asarray(np.linalg.solve(self.matrix, (points - self.origin).T).T, np.float64)


def overlap(image: Any, labels: Any) -> float:
    """Return the area, in world units, on which the two layers lie over each other; an empty Shapes layer lies over all."""
    if not len(labels.data):
        return 1.0
    low = np.maximum(image.extent.world[0][-2:], labels.extent.world[0][-2:])
    high = np.minimum(image.extent.world[1][-2:], labels.extent.world[1][-2:])
    return float(np.prod(np.maximum(high - low, 0)))


def label_data(layer: Any) -> NDArray[np.integer[Any]]:
    """Return the values of a Labels layer, of a pyramid those of its finest level."""
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def planes_of(pair: LayerPair, slices: Iterable[tuple[int, ...]], point: Sequence[float]) -> Iterator[ImagePlane]:
    """Yield the slice of the image that belongs to each of the labels' `slices`; `point` as in ``annotations_from_labels``."""
    for label_index in slices:
        world = np.array(point, float)
        placed = np.asarray(pair.labels.data_to_world((*label_index, 0.0, 0.0)), float)
        if len(placed) > 2:
            world[-len(placed) : -2] = placed[:-2]
        index = _image_index(pair.image, world)
        leading = picture_of(pair.image).leading(index)
        corners = [_to_labels(pair, (*leading, *corner), world) for corner in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
        matrix = np.stack([corners[1] - corners[0], corners[2] - corners[0]], axis=1)
        yield ImagePlane(pair, index, label_index, corners[0], matrix)


def _image_index(image: Any, world: Floats) -> tuple[int, ...]:
    return picture_of(image).index(image.world_to_data(world))


def _to_labels(pair: LayerPair, position: tuple[float, ...], world: Floats) -> Floats:
    here = world.copy()
    placed = np.asarray(pair.image.data_to_world(position), float)
    here[-2:] = placed[-2:]
    return np.asarray(pair.labels.world_to_data(here), float)[-2:]


def image_shape(image: Any) -> tuple[int, int]:
    """Return (H, W) of an image layer in px, of a pyramid at full resolution."""
    return picture_of(image).shapes[0]


@dataclass(frozen=True, eq=False)
class Crop:
    """A window of one level of an image; `top`, `left`, `height`, `width` in pixels of that level, each `step` pixels wide."""

    plane: ImagePlane
    level: Any
    step: float
    top: int
    left: int
    height: int
    width: int

    @property
    def name(self) -> str:
        """Its name as a file, without a suffix."""
        numbers = self.plane.index if len(self.plane.index) == self.plane.pair.image.ndim - 2 else self.plane.label_index
        place = "".join(f"-{number:03d}" for number in numbers)
        return f"{self.plane.pair.image.name}{place}-{self.top}-{self.left}"

    @property
    def mpp(self) -> float | None:
        """Its µm per pixel, None if that is not known."""
        mpp = Source.of(self.plane.pair.image).mpp
        return None if mpp is None else mpp * self.step

    def pixels(self) -> NDArray[np.uint8]:
        """Return its pixels as 8-bit RGB (height, width, 3)."""
        window = (slice(self.top, self.top + self.height), slice(self.left, self.left + self.width))
        return picture_of(self.plane.pair.image).rgb8(self.level, self.plane.index, window)

    def full(self, rows: Floats, columns: Floats) -> tuple[Floats, Floats]:
        """Return full-resolution coordinates of the centres of the piece's rows and columns."""
        return (rows + self.top + 0.5) * self.step - 0.5, (columns + self.left + 0.5) * self.step - 0.5

    def cut(self, box: Sequence[float], value: int) -> Box | None:
        """Return a box (top, left, bottom, right; full resolution, centres at integers) in the piece if its centre is in it."""
        corners = (np.array(box) + 0.5) / self.step - np.array([self.top, self.left, self.top, self.left])
        top, left, bottom, right = (float(corner) for corner in corners)
        inside = 0 <= (top + bottom) / 2 < self.height and 0 <= (left + right) / 2 < self.width
        return (max(left, 0.0), max(top, 0.0), min(right, self.width), min(bottom, self.height), value) if inside else None


class Crops:
    """The pieces of the part of an image around `box` (of the labels, or of the image), each about `edge` px high and wide."""

    def __init__(self, plane: ImagePlane, box: Sequence[float], margin: int, edge: int, *, in_image: bool = False) -> None:
        image = plane.pair.image
        levels = list(image.data) if image.multiscale else [image.data]
        shapes = picture_of(image).shapes
        chosen = finest_level(shapes)
        self._plane, self._level, self._shape = plane, levels[chosen], shapes[chosen]
        self._step = shapes[0][1] / shapes[chosen][1]
        corners = np.array([[box[row], box[column]] for row in (0, 2) for column in (1, 3)])
        corners = corners if in_image else plane.to_image(corners)
        self._low = np.floor((corners.min(0) + 0.5) / self._step - margin)
        self._high = np.ceil((corners.max(0) + 0.5) / self._step + margin)
        self._edge = edge

    def __iter__(self) -> Iterator[Crop]:
        rows, columns = (self._cuts(axis) for axis in (0, 1))
        for top, bottom in rows:
            for left, right in columns:
                yield Crop(self._plane, self._level, self._step, top, left, bottom - top, right - left)

    def _cuts(self, axis: int) -> list[tuple[int, int]]:
        low, high = max(int(self._low[axis]), 0), min(int(self._high[axis]), int(self._shape[axis]))
        count = max(1, round((high - low) / self._edge))
        edges = np.linspace(low, high, count + 1).round().astype(int)
        return [(int(start), int(end)) for start, end in pairwise(edges) if end > start]


def sampled(labels: NDArray[np.integer[Any]], plane: ImagePlane, piece: Crop) -> NDArray[np.int64]:
    """Return the label at the centre of each pixel of the piece; 0 outside the labels."""
    rows, columns = piece.full(np.arange(piece.height, dtype=float), np.arange(piece.width, dtype=float))
    row, column = (
        np.floor(plane.origin[axis] + plane.matrix[axis, 0] * rows[:, None] + plane.matrix[axis, 1] * columns[None, :] + 0.5)
        for axis in (0, 1)
    )
    inside = (row >= 0) & (row < labels.shape[0]) & (column >= 0) & (column < labels.shape[1])
    values = labels[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
    return np.where(inside, values, 0).astype(np.int64)
