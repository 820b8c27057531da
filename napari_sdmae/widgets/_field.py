"""Which pixels of an image layer a question is about: pure decisions, then one read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.inference.fields import MAX_PIXELS
from napari_sdmae.layers import Field, Source

Box = tuple[float, float, float, float]


class FieldError(ValueError):
    """The layer or region cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Taken:
    """A field of a layer; its pixels are read when first asked for, by the thread that asks."""

    field: Field
    whole: bool
    layer: Any
    level: int
    window: tuple[slice, slice]

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """The field as uint8 RGB (rows, columns, 3)."""
        data = self.layer.data[self.level] if self.layer.multiscale else self.layer.data
        index = tuple(round(value) for value in self.field.index)
        limits = tuple(self.layer.contrast_limits)
        return rgb8(np.asarray(data[(*index, *self.window)]), bool(self.layer.rgb), (float(limits[0]), float(limits[1])))


def take(layer: Any, point: Sequence[float], box: Box | None, model_mpp: float | None) -> Taken:
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
    FieldError
        If the layer is no picture, the region lies outside of it, or there are too many pixels.
    """
    source = Source.of(layer)
    shapes = [tuple(shape)[: layer.ndim] for shape in (layer.level_shapes if layer.multiscale else [layer.data.shape])]
    _check_picture(layer, shapes[0])
    top, left, bottom, right = clip_box(box, shapes[0][-2:])
    steps = [shapes[0][-1] / shape[-1] for shape in shapes]
    level = choose_level(steps, (bottom - top) * (right - left), source.mpp, model_mpp)
    step = steps[level]
    rows, columns = _window(top, bottom, step, shapes[level][-2]), _window(left, right, step, shapes[level][-1])
    index = np.clip(np.round(layer.world_to_data(point)[:-2]), 0, np.array(shapes[0][:-2]) - 1)
    origin = (round(rows.start * step), round(columns.start * step))
    size = (rows.stop - rows.start, columns.stop - columns.start)
    whole = box is None
    field = Field(source, origin, size, step, tuple(float(value) for value in index), 0 if whole else int(shapes[0][-1]))
    return Taken(field, whole and level == 0, layer, level, (rows, columns))


def _window(low: int, high: int, step: float, length: int) -> slice:
    """Return the pixels of a level of `length` pixels that hold the full-resolution pixels `low` to `high`."""
    first = min(int(low / step), length - 1)
    return slice(first, min(max(math.ceil(high / step), first + 1), length))


def _check_picture(layer: Any, shape: Sequence[int]) -> None:
    if len(shape) < 2:
        raise FieldError(f"Layer “{layer.name}” has {len(shape)} axis; a picture has rows and columns.")
    if not layer.rgb and len(shape) > 2 and shape[-1] in (3, 4):
        raise FieldError(f"Layer “{layer.name}” has shape {tuple(shape)} but is not shown in colour. Open it again as RGB.")


def clip_box(box: Box | None, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return `box` as whole pixels top, left, bottom, right (the last two exclusive) inside a picture of `shape`.

    Raises
    ------
    FieldError
        If nothing of the picture lies in it.
    """
    height, width = shape
    if box is None:
        return 0, 0, height, width
    edges = [int(np.floor(round(edge + 0.5, 6))) for edge in box]  # a rotated rectangle on pixel edges misses them by rounding
    top, left = (max(0, edge) for edge in edges[:2])
    bottom, right = (min(limit, edge) for edge, limit in zip(edges[2:], (height, width), strict=True))
    if bottom <= top or right <= left:
        raise FieldError("The region lies outside of the picture. Move the view or the rectangle onto it.")
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
    FieldError
        If the region is too large even at the coarsest level.
    """
    wanted = wanted_mpp / mpp if mpp and wanted_mpp else 1.0
    first = max((level for level, step in enumerate(steps) if step <= wanted * 1.2), default=0)
    for level in range(first, len(steps)):
        if area / steps[level] ** 2 <= MAX_PIXELS:
            return level
    raise FieldError(
        f"The region has {area / steps[-1] ** 2 / 1e6:.0f} million pixels, at most {MAX_PIXELS / 1e6:.0f} can be "
        "used at once. Choose the current view or a rectangle."
    )


def rgb8(array: NDArray[Any], rgb: bool, limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a picture as people see it in the viewer, as uint8 RGB.

    Colours are taken as they are (floats in [0, 1], alpha composited on white, as slides are); 8-bit grey too,
    other grey values are scaled by the contrast limits `limits`.
    """
    if not rgb:
        grey = array if array.dtype == np.uint8 else _scaled(array, *limits)
        return np.repeat(grey[..., np.newaxis], 3, axis=-1)
    if array.dtype != np.uint8:
        array = _scaled(array, 0.0, 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max))
    if array.shape[-1] == 4:
        alpha = array[..., 3:].astype(np.float32) / 255
        array = np.round(array[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(array)


def _scaled(array: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    span = high - low if high > low else 1.0
    scaled = np.clip((array.astype(np.float32) - low) / span, 0, 1)
    whole: NDArray[np.uint8] = np.round(np.nan_to_num(scaled) * 255).astype(np.uint8)
    return whole


def bounding_box(corners: NDArray[np.float64]) -> Box:
    """Return top, left, bottom, right of points (N, 2 or more), by their last two coordinates."""
    top, left = corners[:, -2:].min(axis=0)
    bottom, right = corners[:, -2:].max(axis=0)
    return float(top), float(left), float(bottom), float(right)
