"""GeoJSON back to labels: our own pixel for pixel, QuPath's and other programs' as what they say."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.humanize import several
from napari_sdmae.io.labels.description import restore
from napari_sdmae.io.labels.draw_objects import said_of_empty
from napari_sdmae.io.labels.draw_shapes import DrawnShapes, PixelGrid, draw_shapes
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.geojson.features import Contents, Shape, read_contents
from napari_sdmae.io.labels.shapes import skipped
from napari_sdmae.io.labels.slide_bounds import Bounds, bounds_corner
from napari_sdmae.labels.label_map import LabelClass, LabelMap, colour_of

MOST_PIXELS = 400_000_000
"""Labels without a shape are drawn on every second, fourth … pixel if they would be larger."""
UNCLASSIFIED = "unclassified"
OBJECTS = {"detection", "cell", "tile", "tmaCore"}
"""QuPath's types that are single objects; annotations of one class are one label."""
EMPTY: dict[str, Any] = {
    "classes": [],
    "class_of": {},
    "instances": False,
    "mpp": None,
    "origin": (0, 0),
    "step": 1,
    "source": "",
}


def read_geojson(
    path: Path | str,
    *,
    shape: tuple[int, int] | None = None,
    mpp: float | None = None,
    like: LabelMap | None = None,
    step: float | None = None,
    bounds: Bounds = None,
    instances: bool | None = None,
) -> LabelMap:
    """Read GeoJSON of ours, of QuPath or of another program.

    Small objects are drawn over large ones. A :class:`UserWarning` says how many lie over others, which are lost under others,
    what was left out (points, lines), how many cover no pixel, and whose class is not understood.

    Parameters
    ----------
    path
        FeatureCollection, single Feature or list of features; may be compressed by gzip.
    shape
        (rows, columns) of the labels, which then begin at the source's first pixel; None: as the file says, or as large
        as what it holds.
    mpp
        µm per full-resolution pixel; None: as the file says.
    like
        Labels whose place, shape and scale are taken instead.
    step
        Full-resolution pixels per label pixel; None: as the file says, or 1.
    bounds
        Slide (or x, y) whose ``openslide.bounds`` are added, for slides that QuPath crops; our own files say it themselves.
    instances
        Whether each object gets a number of its own; None: as the file says, and of other programs' files yes when there
        are detections, cells or tiles.

    Raises
    ------
    InvalidLabelsError
        If the file is no GeoJSON, or holds no areas and no shape was given.
    """
    contents = shapes_in_source(Path(path), bounds)
    return labels_of_shapes(
        contents.shapes, contents.description, shape=shape, mpp=mpp, like=like, step=step, instances=instances, level=3
    )


def shapes_in_source(path: Path, bounds: Bounds = None) -> Contents:
    """Return what a file holds, in full-resolution (x, y) of the whole source; a warning says what is no area.

    Raises
    ------
    InvalidLabelsError
        As :func:`read_geojson`.
    """
    contents = read_contents(path)
    corner = bounds_corner(bounds) if contents.description is None else _stated_corner(contents.description)
    if contents.left_out:
        warnings.warn(skipped(contents.left_out), stacklevel=3)
    if contents.unknown:
        keys = ", ".join(contents.unknown)
        warnings.warn(
            f"{several(contents.unknown.total(), 'object has', 'objects have')} no class that is understood ({keys}?): "
            f"called {UNCLASSIFIED}",
            stacklevel=3,
        )
    return replace(contents, shapes=[_moved(one, corner) for one in contents.shapes])


def labels_of_shapes(
    shapes: list[Shape],
    description: Mapping[str, Any] | None = None,
    *,
    shape: tuple[int, int] | None = None,
    mpp: float | None = None,
    like: LabelMap | None = None,
    step: float | None = None,
    instances: bool | None = None,
    level: int = 2,
) -> LabelMap:
    """Draw `shapes`, in full-resolution (x, y), as labels; see :func:`read_geojson` for the arguments.

    Raises
    ------
    InvalidLabelsError
        If there are no shapes and no shape of the picture, or the description is damaged.
    """
    own = restore(EMPTY | dict(description or {}), np.zeros((1, 1), np.int32))
    grid = _grid(shapes, description, own, shape, like, step)
    numbering = _number(shapes, own, own.instances if instances is None and description is not None else instances)
    nuclei = any(one.nucleus for one in shapes) or bool((description or {}).get("nuclei"))
    drawing = draw_shapes(shapes, numbering.labels, grid, instances=numbering.instances, nuclei=nuclei)
    _say(drawing, level + 1)
    return LabelMap(
        labels=drawing.labels,
        classes=numbering.classes,
        instances=numbering.instances,
        class_of=numbering.class_of,
        mpp=mpp if mpp is not None else own.mpp if like is None else like.mpp,
        origin=grid.origin,
        step=grid.step,
        source=own.source if like is None else like.source,
        nuclei=drawing.nuclei,
        measurements=_columns(shapes, numbering.labels),
    )


@dataclass(frozen=True)
class Numbering:
    """Which number each shape is drawn with, and what the numbers mean."""

    labels: list[int]
    classes: tuple[LabelClass, ...]
    instances: bool
    class_of: dict[int, int]


def _stated_corner(description: Mapping[str, Any] | None) -> tuple[float, float]:
    try:
        x, y = (description or {}).get("bounds", (0.0, 0.0))
        return float(x), float(y)
    except (TypeError, ValueError):
        raise InvalidLabelsError("the description of its labels is damaged: bounds are two numbers") from None


def _moved(shape: Shape, corner: tuple[float, float]) -> Shape:
    if corner == (0.0, 0.0):
        return shape
    polygons, nucleus = ([[ring + corner for ring in one] for one in part] for part in (shape.polygons, shape.nucleus))
    return replace(shape, polygons=polygons, nucleus=nucleus)


def _grid(
    shapes: list[Shape],
    description: Mapping[str, Any] | None,
    own: LabelMap,
    shape: tuple[int, int] | None,
    like: LabelMap | None,
    step: float | None,
) -> PixelGrid:
    if like is not None:
        return PixelGrid((like.labels.shape[0], like.labels.shape[1]), like.origin, like.step)
    if shape is not None:
        return PixelGrid((int(shape[0]), int(shape[1])), (0.0, 0.0), step or 1.0)
    if description is not None and "shape" in description and step in (None, own.step):
        rows, columns = (int(length) for length in description["shape"])
        return PixelGrid((rows, columns), own.origin, own.step)
    if not shapes:
        raise InvalidLabelsError("no areas in it: give the shape of the picture to read it as empty labels")
    return _bounding_grid(shapes, step)


def _bounding_grid(shapes: list[Shape], step: float | None) -> PixelGrid:
    points = np.concatenate([polygon[0] for one in shapes for polygon in one.polygons])
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    width, height = np.maximum(high - low, 1)
    fitting = 2.0 ** max(0, math.ceil(math.log2(max(1.0, width * height / MOST_PIXELS)) / 2))
    if step is None and fitting > 1:
        warnings.warn(f"{width:,.0f} × {height:,.0f} px are drawn at a {fitting:g}th of their resolution", stacklevel=3)
    step = step or fitting
    return PixelGrid((math.ceil(height / step), math.ceil(width / step)), (float(low[1]), float(low[0])), step)


def _number(shapes: list[Shape], own: LabelMap, instances: bool | None) -> Numbering:
    if instances is None:
        instances = any(one.kind in OBJECTS for one in shapes)
    kept = _kept_numbers(shapes)
    names = [one.class_name or UNCLASSIFIED for one in shapes]
    if instances:
        values, classes = _values(shapes, names, own.classes, None)
        labels = kept if kept is not None and len(set(kept)) == len(kept) else list(range(1, len(shapes) + 1))
        return Numbering(labels, classes, True, dict(zip(labels, values, strict=True)))
    one_to_one = (
        kept is not None
        and max(kept, default=0) <= 65_535
        and len(set(zip(kept, names, strict=True))) == len(set(kept)) == len(set(names))
    )
    values, classes = _values(shapes, names, own.classes, kept if one_to_one else None)
    return Numbering(values, classes, False, {})


def _kept_numbers(shapes: list[Shape]) -> list[int] | None:
    """Return the numbers that we wrote with the objects, which QuPath keeps; None where one has none."""
    texts = [str(one.metadata.get("label", "")) for one in shapes]
    return [int(text) for text in texts] if all(text.isdigit() and 0 < int(text) < 2**31 for text in texts) else None


def _values(
    shapes: list[Shape], names: list[str], known: tuple[LabelClass, ...], kept: list[int] | None
) -> tuple[list[int], tuple[LabelClass, ...]]:
    """Return the class value of each shape, and all classes: those already known, then new ones by their first shape."""
    by_name = {one.name: one for one in reversed(known)}
    classes = list(known)
    for index, (shape, name) in enumerate(zip(shapes, names, strict=True)):
        if name not in by_name:
            value = kept[index] if kept is not None else max((one.value for one in classes), default=0) + 1
            by_name[name] = LabelClass(value=value, name=name, colour=shape.colour or colour_of(value))
            classes.append(by_name[name])
    return [by_name[name].value for name in names], tuple(classes)


def _columns(shapes: list[Shape], numbers: list[int]) -> dict[str, NDArray[np.generic]]:
    """Return the measurements as columns, NaN where an object has none; none at all where labels are no single objects."""
    names = list(dict.fromkeys(name for shape in shapes for name in shape.measurements))
    if not names or len(set(numbers)) < len(numbers):
        return {}
    columns: dict[str, NDArray[np.generic]] = {"label": np.asarray(numbers, np.int64)}
    return columns | {name: np.array([shape.measurements.get(name, np.nan) for shape in shapes]) for name in names}


def _say(drawing: DrawnShapes, level: int) -> None:
    for said in drawing.overlaps:
        warnings.warn(said, stacklevel=level)
    if drawing.empty:
        warnings.warn(said_of_empty(drawing.empty), stacklevel=level)
