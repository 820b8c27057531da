"""Which pixels of an image layer a request is about: pure decisions, then one read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.images.field import MAX_PIXELS
from napari_sdmae.layers.base import Field
from napari_sdmae.widgets.canvas.picture import LayerPicture, picture_of
from napari_sdmae.widgets.canvas.picture import RegionError as RegionError

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageRegion:
    """A field of a layer; its pixels are read when first asked for, by the thread that asks."""

    field: Field
    whole: bool
    layer: Any
    level: int
    window: tuple[slice, slice]
    array: Any
    picture: LayerPicture

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """The field as uint8 RGB (rows, columns, 3), a copy: a person may paint in the layer."""
        return self._read().copy()

    def difference(self) -> str:
        """Return what became of the layer since, or an empty text while its place, scale and pixels are as they were taken.

        Pixels are compared where they are in memory and have been read; of others it is told when they are replaced.
        """
        name = f"“{self.layer.name}”"
        try:
            picture = picture_of(self.layer)
        except RegionError as error:
            return str(error).rstrip(".")
        if picture.axis != self.picture.axis:
            return f"the planes of {name} were given another meaning"
        if not self.field.source.same_place(picture.source(self.layer)):
            return f"{name} was moved, or given another scale"
        replaced = _array(self.layer, self.level) is not self.array
        known = self.__dict__.get("pixels")
        if not isinstance(self.array, np.ndarray) or known is None:
            return f"the pixels of {name} were replaced" if replaced else ""
        try:
            same = np.array_equal(self._read(), known)
        except (IndexError, ValueError):  # of another shape now
            same = False
        return "" if same else f"the pixels of {name} were changed"

    def renamed(self) -> ImageRegion:
        """Return the same pixels under the name that the layer has now."""
        taken = replace(self, field=replace(self.field, source=replace(self.field.source, name=self.layer.name)))
        if "pixels" in self.__dict__:
            taken.__dict__["pixels"] = self.pixels
        return taken

    def _read(self) -> NDArray[np.uint8]:
        index = tuple(round(value) for value in self.field.index)
        return self.picture.rgb8(_array(self.layer, self.level), index, self.window)


def read_region(layer: Any, point: Sequence[float], box: Box | None, model_mpp: float | None) -> ImageRegion:
    """Choose the pixels of `layer` a model should see.

    Parameters
    ----------
    layer
        A napari image layer: grey or RGB(A), a stack (its slice at `point`), or a pyramid.
    point
        The viewer's position in world coordinates (``viewer.dims.point``).
    box
        Top, left, bottom, right in the layer's full-resolution pixels (edges, pixel centres at integers);
        None for the whole picture.
    model_mpp
        Micrometres per pixel of the tiles the model was trained on; chooses the level of a pyramid.

    Raises
    ------
    RegionError
        If the layer is no picture, the region lies outside of it, or there are too many pixels.
    """
    picture = picture_of(layer)
    source, shapes = picture.source(layer), picture.shapes
    top, left, bottom, right = clip_box(box, shapes[0])
    steps = [shapes[0][-1] / shape[-1] for shape in shapes]
    level = choose_level(steps, (bottom - top) * (right - left), source.mpp, model_mpp)
    step = steps[level]
    rows, columns = _window(top, bottom, step, shapes[level][-2]), _window(left, right, step, shapes[level][-1])
    index = picture.index(layer.world_to_data(point))
    origin = (round(rows.start * step), round(columns.start * step))
    size = (rows.stop - rows.start, columns.stop - columns.start)
    whole = box is None
    field = Field(source, origin, size, step, tuple(float(value) for value in index), 0 if whole else int(shapes[0][-1]))
    return ImageRegion(field, whole and level == 0, layer, level, (rows, columns), _array(layer, level), picture)


def _array(layer: Any, level: int) -> Any:
    return layer.data[level] if layer.multiscale else layer.data


def _window(low: int, high: int, step: float, length: int) -> slice:
    """Return the pixels of a level of `length` pixels that hold the full-resolution pixels `low` to `high`."""
    first = min(int(low / step), length - 1)
    return slice(first, min(max(math.ceil(high / step), first + 1), length))


def clip_box(box: Box | None, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return `box` as whole pixels top, left, bottom, right (the last two exclusive) inside a picture of `shape`.

    Raises
    ------
    RegionError
        If nothing of the picture lies in it.
    """
    height, width = shape
    if box is None:
        return 0, 0, height, width
    edges = [int(np.floor(round(edge + 0.5, 6))) for edge in box]  # a rotated rectangle on pixel edges misses them by rounding
    top, left = (max(0, edge) for edge in edges[:2])
    bottom, right = (min(limit, edge) for edge, limit in zip(edges[2:], (height, width), strict=True))
    if bottom <= top or right <= left:
        raise RegionError("The region lies outside of the picture. Move the view or the rectangle onto it.")
    return top, left, bottom, right


def choose_level(steps: Sequence[float], area: float, mpp: float | None, wanted_mpp: float | None) -> int:
    """Return the pyramid level to read: the coarsest that is not coarser than the model's scale, and that fits.

    Parameters
    ----------
    steps
        Full-resolution pixels per pixel of each level; the first is 1.
    area
        Full-resolution pixels of the region.
    mpp, wanted_mpp
        Micrometres per pixel of the full resolution and of the model; without them the finest level that fits is read.

    Raises
    ------
    RegionError
        If the region is too large even at the coarsest level.
    """
    wanted = wanted_mpp / mpp if mpp and wanted_mpp else 1.0
    first = max((level for level, step in enumerate(steps) if step <= wanted * 1.2), default=0)
    for level in range(first, len(steps)):
        if area / steps[level] ** 2 <= MAX_PIXELS:
            return level
    raise RegionError(
        f"The region has {area / steps[-1] ** 2 / 1e6:.0f} million pixels, at most {MAX_PIXELS / 1e6:.0f} can be "
        "used at once. Choose the current view or a rectangle."
    )


def bounding_box(corners: NDArray[np.float64]) -> Box:
    """Return top, left, bottom, right of points (N, 2 or more), by their last two coordinates."""
    top, left = corners[:, -2:].min(axis=0)
    bottom, right = corners[:, -2:].max(axis=0)
    return float(top), float(left), float(bottom), float(right)


def source_text(file: str, layer: Any) -> str:
    """Return what the labels belong to: the file of the picture, else its layer."""
    return str(Path(file)) if file else f"layer {layer.name}"
