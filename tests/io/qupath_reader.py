"""QuPath's documented rules for GeoJSON as a reader of its own, which shares no line with the package.

Stricter than QuPath where QuPath would only warn: whatever is unknown, not closed, not finite or not valid is an error.
The rules and where they are written: docs/decisions/0081.
"""

from __future__ import annotations

import gzip
import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Pair = tuple[float, float]
TYPES = {"annotation", "detection", "cell", "tile", "tmaCore"}


class QuPathError(Exception):
    """What QuPath would not open, or open as something else."""


@dataclass(frozen=True)
class PathObject:
    kind: str
    roi: shapely.Geometry
    nucleus: shapely.Geometry | None
    name: str | None
    class_name: str | None
    colour: tuple[int, int, int] | None
    measurements: Mapping[str, float]
    metadata: Mapping[str, str]
    locked: bool


def read(path: Path) -> list[PathObject]:
    raw = Path(path).read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    data = json.loads(text, parse_constant=_no_constant)
    return read_data(data)


def read_data(data: Any) -> list[PathObject]:
    if isinstance(data, list):
        features = data
    elif data.get("type") == "FeatureCollection":
        features = data["features"]
    elif data.get("type") == "Feature":
        features = [data]
    else:
        raise QuPathError(f"neither FeatureCollection nor Feature: {data.get('type')!r}")
    _check(len({one.get("id") for one in features}) == len(features), "two objects of one id")
    return [_object(one) for one in features]


def raster(objects: list[PathObject], shape: tuple[int, int], origin: Pair, step: float) -> NDArray[np.int32]:
    """Number the objects as metadata say, each pixel by where its centre lies; asks shapely about every pixel of a box."""
    labels = np.zeros(shape, np.int32)
    for one in objects:
        _paint(labels, one.roi, int(one.metadata["label"]), origin, step)
    return labels


def nuclei_raster(
    objects: list[PathObject], shape: tuple[int, int], origin: tuple[float, float], step: float
) -> NDArray[np.int32]:
    labels = np.zeros(shape, np.int32)
    for one in objects:
        if one.nucleus is not None:
            _paint(labels, one.nucleus, int(one.metadata["label"]), origin, step)
    return labels


def _paint(labels: NDArray[np.int32], roi: shapely.Geometry, label: int, origin: tuple[float, float], step: float) -> None:
    left, top, right, bottom = roi.bounds
    rows = slice(max(0, math.floor((top - origin[0]) / step)), min(labels.shape[0], math.ceil((bottom - origin[0]) / step)))
    columns = slice(max(0, math.floor((left - origin[1]) / step)), min(labels.shape[1], math.ceil((right - origin[1]) / step)))
    y, x = np.mgrid[rows, columns]
    shapely.prepare(roi)
    inside = shapely.contains_xy(roi, origin[1] + (x + 0.5) * step, origin[0] + (y + 0.5) * step)
    assert not (labels[rows, columns][inside] != 0).any(), "two objects hold the same pixel"
    labels[rows, columns][inside] = label


def _object(one: Mapping[str, Any]) -> PathObject:
    _check(one.get("type") == "Feature", f"type {one.get('type')!r} instead of Feature")
    _check(isinstance(one.get("id"), str), "no id")
    try:
        uuid.UUID(one["id"])
    except ValueError:
        raise QuPathError(f"id {one['id']!r} is no UUID") from None
    _check(set(one) <= {"type", "id", "geometry", "nucleusGeometry", "properties"}, f"unknown members {sorted(one)}")
    properties = one.get("properties")
    _check(isinstance(properties, dict), "no properties")
    kind = properties.get("objectType")
    _check(kind in TYPES, f"object type {kind!r}")
    roi = _geometry(one.get("geometry"))
    nucleus = None
    if "nucleusGeometry" in one:
        _check(kind == "cell", f"a {kind} with a nucleus")
        nucleus = _geometry(one["nucleusGeometry"])
        _check(bool(shapely.covers(roi, nucleus)), "the nucleus reaches out of its cell")
    class_name, colour = _classification(properties["classification"]) if "classification" in properties else (None, None)
    name = properties.get("name")
    _check(name is None or isinstance(name, str), f"name {name!r}")
    locked = properties.get("isLocked", False)
    _check(isinstance(locked, bool), f"isLocked {locked!r}")
    return PathObject(
        kind,
        roi,
        nucleus,
        name,
        class_name,
        colour,
        _measurements(properties.get("measurements", {})),
        _metadata(properties.get("metadata", {})),
        locked,
    )


def _classification(known: Any) -> tuple[str, tuple[int, int, int]]:
    _check(isinstance(known, dict), "a classification that is no object")
    name, colour = known.get("name"), known.get("color")
    _check(isinstance(name, str) and bool(name.strip()), f"class name {name!r}")
    plain = isinstance(colour, list) and len(colour) == 3 and all(type(value) is int and 0 <= value <= 255 for value in colour)
    _check(plain, f"class {name!r} without a colour [r, g, b]: {colour!r}")
    return name, tuple(colour)


def _measurements(values: Any) -> dict[str, float]:
    _check(isinstance(values, dict), "measurements that are no object")
    for name, value in values.items():
        _check(type(value) in (int, float) and math.isfinite(value), f"measurement {name!r} is {value!r}")
    return dict(values)


def _metadata(values: Any) -> dict[str, str]:
    _check(isinstance(values, dict), "metadata that are no object")
    for key, value in values.items():
        _check(isinstance(value, str), f"metadata {key!r} is {value!r}, no text")
    return dict(values)


def _geometry(geometry: Any) -> shapely.Geometry:
    _check(isinstance(geometry, dict), "no geometry")
    _check(set(geometry) <= {"type", "coordinates", "plane", "isEllipse"}, f"unknown members {sorted(geometry)}")
    if geometry["type"] == "Polygon":
        roi = _polygon(geometry["coordinates"])
    elif geometry["type"] == "MultiPolygon":
        _check(len(geometry["coordinates"]) > 1, f"a MultiPolygon of {len(geometry['coordinates'])} part")
        roi = shapely.MultiPolygon([_polygon(part) for part in geometry["coordinates"]])
    else:
        raise QuPathError(f"geometry {geometry['type']!r}")
    _check(bool(shapely.is_valid(roi)), f"not valid: {shapely.is_valid_reason(roi)}")
    return roi


def _polygon(rings: Any) -> shapely.Polygon:
    _check(len(rings) > 0, "a polygon without rings")
    for ring in rings:
        _check(len(ring) >= 4, f"a ring of {len(ring)} points")
        _check(ring[0] == ring[-1], "a ring that is not closed")
        for point in ring:
            _check(len(point) == 2 and all(type(v) in (int, float) and math.isfinite(v) for v in point), f"point {point!r}")
    _check(shapely.is_ccw(shapely.LinearRing(rings[0])), "an outer ring that turns clockwise")
    _check(not any(shapely.is_ccw(shapely.LinearRing(ring)) for ring in rings[1:]), "a hole that turns counterclockwise")
    return shapely.Polygon(rings[0], rings[1:])


def _no_constant(name: str) -> None:
    raise QuPathError(f"{name} is no JSON number")


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise QuPathError(problem)
