"""Strokes: the Labels layer they are painted in, and which pixels of a field they cover. Works on napari Labels layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray
from scipy.ndimage import label as connected

from napari_sdmae.labels.label_map import LabelClass, colour_of
from napari_sdmae.labels.serialization import plugin_metadata, update_metadata
from napari_sdmae.layers.base import Field, Source, attributes, placed
from napari_sdmae.widgets.canvas.edit_labels import EIGHT, classes_of

STROKES = "scribbles/strokes"
"""What the keys of strokes layers start with."""
MOST_CLASSES, LARGEST = 50, 255
APART = 4
"""Painted pixels of a class closer than this many pixels are one stroke."""
BRUSH = 8
"""Diameter of the brush in pixels of the field, to begin with."""


@dataclass(frozen=True, eq=False)
class Painted:
    """Painted pixels of one strokes layer within a field.

    Attributes
    ----------
    positions
        (row, column) in pixels of the field, float32 (N, 2).
    values
        Class value of each.
    strokes
        Number of the stroke of each, from 0.
    places
        Index of each in the layer's data, flat.
    """

    positions: NDArray[np.float32]
    values: NDArray[np.int64]
    strokes: NDArray[np.int64]
    places: NDArray[np.int64]


def new_strokes(field: Field, classes: Sequence[LabelClass]) -> Labels:
    """Return an empty strokes layer on `field`, pixel for pixel."""
    leading = len(field.source.scale) - 2
    where = "-".join(f"{value:g}" for value in (*field.index, *field.origin, field.step))
    layer = Labels(
        np.zeros((1,) * leading + field.size, np.uint8),
        **attributes(field, "strokes", f"{STROKES}/{where}", {"instances": False, "strokes_on": field.source.id}),
        **placed(field),
        opacity=0.9,
    )
    update_metadata(layer, name=layer.name)
    layer.brush_size = BRUSH
    show_classes(layer, classes)
    return layer


def is_strokes(layer: Any) -> bool:
    """Tell whether `layer` is a strokes layer of this plugin."""
    return isinstance(layer, Labels) and "strokes_on" in plugin_metadata(layer)


def adopt(layer: Labels, field: Field) -> tuple[LabelClass, ...]:
    """Make a person's own Labels layer a strokes layer on the field's source, and return the classes that are painted in it.

    Raises
    ------
    ValueError
        If it is not one plane of labels, or has more values than a person paints.
    """
    if layer.multiscale or layer.data.size != np.prod(layer.data.shape[-2:]):
        raise ValueError(f"“{layer.name}” is a stack or a pyramid; strokes are one plane. Choose another Labels layer.")
    values = [int(value) for value in np.unique(np.asarray(layer.data)) if value]
    if len(values) > MOST_CLASSES or max(values, default=0) > LARGEST:
        raise ValueError(
            f"“{layer.name}” has {len(values)} values up to {max(values)}: these are objects, not strokes of at most "
            f"{MOST_CLASSES} classes. Choose a layer whose values are classes."
        )
    named = {one.value: one for one in classes_of(layer)}
    update_metadata(layer, strokes_on=field.source.id, adopted=True, instances=False)
    return tuple(named.get(value, LabelClass(value=value, name=f"Class {value}", colour=colour_of(value))) for value in values)


def strokes_layers(viewer: Any) -> list[Labels]:
    """Return all strokes layers, the topmost first."""
    return [layer for layer in reversed(viewer.layers) if is_strokes(layer)]


def find_strokes(viewer: Any, field: Field) -> Labels | None:
    """Return the strokes layer of the field's source that covers the whole field, or None."""
    for layer in strokes_layers(viewer):
        mark = plugin_metadata(layer)
        if mark["strokes_on"] == field.source.id and (mark.get("adopted") or _covers(layer, field)):
            return layer
    return None


def show_classes(layer: Labels, classes: Sequence[LabelClass]) -> None:
    """Give the strokes the colours of `classes`, and keep them with the layer."""
    layer.colormap = colours(classes)
    layer.features = {"index": [0, *(one.value for one in classes)], "class": ["", *(one.name for one in classes)]}
    update_metadata(layer, classes=[one.model_dump() for one in classes])


def colours(classes: Sequence[LabelClass]) -> DirectLabelColormap:
    """Return the colormap of `classes`; other values cannot be seen."""
    shown: dict[int | None, Any] = {one.value: np.array([*one.colour, 255]) / 255 for one in classes}
    shown[None] = shown[0] = np.zeros(4)
    return DirectLabelColormap(color_dict=shown)


def painted(layer: Labels, field: Field, known: Sequence[int]) -> Painted:
    """Return the painted pixels of `layer` within `field` whose class is `known`."""
    data = np.asarray(layer.data)
    places = np.flatnonzero(data)
    values = data.ravel()[places].astype(np.int64)
    positions = in_field(layer, field, places)
    inside = _inside(positions, field) & np.isin(values, known)
    values, places = values[inside], places[inside]
    return Painted(positions[inside].astype(np.float32), values, _stroke_numbers(places, values, data.shape), places)


def still_painted(layer: Labels, field: Field, places: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which places of `layer`, painted with `values` once, still are and lie outside of `field`."""
    there: NDArray[np.bool_] = (np.asarray(layer.data).ravel()[places] == values) & ~_inside(
        in_field(layer, field, places), field
    )
    return there


def in_field(layer: Labels, field: Field, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return where flat indices of the layer's data lie, in pixels of the field (N, 2); NaN on another slice."""
    source = field.source
    axes = min(layer.ndim, len(source.scale))
    indices = np.stack(np.unravel_index(places, layer.data.shape), 1)[:, -axes:].astype(np.float64)
    matrix = np.linalg.solve(_to_world(source, axes), _to_world(Source.of(layer), axes))
    there = indices @ matrix[:-1, :-1].T + matrix[:-1, -1]
    shift = (field.step - 1) / 2
    positions: NDArray[np.float64] = (there[:, -2:] - field.origin - shift) / field.step
    index = np.asarray(field.index, float)[len(field.index) - (axes - 2) :]
    positions[(np.abs(there[:, :-2] - index) > 0.5).any(1)] = np.nan
    return positions


def stroke_counts(layers: Sequence[Labels]) -> dict[int, int]:
    """Return the number of strokes per class value in all of `layers`."""
    counts: dict[int, int] = {}
    for layer in layers:
        data = np.asarray(layer.data)
        places = np.flatnonzero(data)
        values = data.ravel()[places].astype(np.int64)
        numbers = _stroke_numbers(places, values, data.shape)
        for part in _each(values):
            value = int(values[part[0]])
            counts[value] = counts.get(value, 0) + len(np.unique(numbers[part]))
    return counts


def paint_count(layer: Labels) -> int:
    """Return how many pixels are painted."""
    return int(np.count_nonzero(np.asarray(layer.data)))


def erase_class(layer: Labels, value: int) -> None:
    """Take a class's strokes away; it can be undone."""
    where = np.nonzero(np.asarray(layer.data) == value)
    if where[0].size:
        layer.data_setitem(where, 0)


def _to_world(source: Source, axes: int) -> NDArray[np.float64]:
    """Return the matrix (axes + 1, axes + 1) from data to world of the last `axes` axes."""
    count = len(source.scale)
    whole = np.eye(count + 1)
    whole[:count, :count], whole[:count, count] = source.linear, source.translate
    kept = [*range(count - axes, count), count]
    matrix: NDArray[np.float64] = (source.affine @ whole)[np.ix_(kept, kept)]
    return matrix


def _inside(positions: NDArray[np.float64], field: Field) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        inside = np.all((positions >= -0.5) & (positions < np.array(field.size) - 0.5), axis=1)
    return np.asarray(inside, np.bool_)


def _covers(layer: Labels, field: Field) -> bool:
    """Tell whether all corners of the field lie on the layer's data."""
    positions = in_field(layer, field, np.array([0, layer.data.size - 1]))
    if np.isnan(positions).any():
        return False
    low, high = positions.min(0), positions.max(0)
    return bool((low <= 0.5).all() and (high >= np.array(field.size) - 1.5).all())


def _stroke_numbers(places: NDArray[np.int64], values: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the number of the stroke of each place: pixels of a class that touch, on a grid of :data:`APART` pixels."""
    numbers, count = np.zeros(len(places), np.int64), 0
    rows, columns = (axis // APART for axis in np.unravel_index(places, shape)[-2:])
    for part in _each(values):
        top, left = rows[part].min(), columns[part].min()
        grid = np.zeros((rows[part].max() - top + 1, columns[part].max() - left + 1), bool)
        grid[rows[part] - top, columns[part] - left] = True
        parts, found = connected(grid, EIGHT)
        numbers[part] = parts[rows[part] - top, columns[part] - left] - 1 + count
        count += found
    return numbers


def _each(values: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of each value."""
    for value in np.unique(values):
        yield np.flatnonzero(values == value)
