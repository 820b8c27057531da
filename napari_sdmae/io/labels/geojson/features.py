"""GeoJSON of any writer as plain objects: polygons, class, measurements; what is no area is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_sdmae.io.labels.description import KEY
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.hovernet import nuclei_features
from napari_sdmae.io.labels.peer_classes import KINDS, Colour, peer_class, unknown_keys
from napari_sdmae.labels.outlines import FARTHEST, Polygon, Ring
from napari_sdmae.text.documents import DocumentError, read_json

LEGACY = {
    "PathAnnotationObject": "annotation",
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
}
"""How QuPath called the types until 0.3."""


@dataclass(frozen=True)
class Shape:
    """One object of a GeoJSON file, coordinates (x, y) as in the file."""

    kind: str
    polygons: list[Polygon]
    class_name: str | None
    colour: Colour | None
    nucleus: list[Polygon] = field(default_factory=list)
    measurements: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """What a GeoJSON file holds.

    Attributes
    ----------
    description
        Ours, if we wrote it.
    left_out
        How much is no area, by its type.
    unknown
        How many objects have no class that is understood, and have a property of this name.
    """

    shapes: list[Shape]
    description: Mapping[str, Any] | None
    left_out: Counter[str]
    unknown: Counter[str] = field(default_factory=Counter)


def read_contents(path: Path) -> Contents:
    """Read a FeatureCollection, a single Feature, a bare list of features or HoVer-Net's nuclei, compressed or not.

    Raises
    ------
    InvalidLabelsError
        If the file is no GeoJSON, or a feature is damaged.
    """
    data = load_json(path)
    features, description = _features_of(data)
    shapes: list[Shape] = []
    left_out: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for number, one in enumerate(_flat(features), 1):
        try:
            shape = _shape(one)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise InvalidLabelsError(f"feature {number} is damaged ({type(error).__name__}: {error})") from None
        if shape.polygons:
            shapes.append(shape)
            if shape.class_name is None:
                unknown.update(unknown_keys(one.get("properties") or {})[:1])
        else:
            left_out[str((one.get("geometry") or {}).get("type", "empty feature"))] += 1
    return Contents(shapes, description, left_out, unknown)


def load_json(path: Path) -> Any:
    """Return the JSON in a file, gzipped or not.

    Raises
    ------
    InvalidLabelsError
        If the file is missing, empty, cut short or no JSON.
    """
    try:
        return read_json(path)
    except FileNotFoundError:
        raise InvalidLabelsError("there is no such file") from None
    except IsADirectoryError:
        raise InvalidLabelsError("this is a folder, not a JSON file") from None
    except DocumentError as error:
        raise InvalidLabelsError(str(error)) from None


def _features_of(data: Any) -> tuple[list[Any], Mapping[str, Any] | None]:
    if isinstance(data, list):
        return data, None
    if isinstance(data, dict) and isinstance(data.get("features"), list):
        description = data.get(KEY)
        return data["features"], description if isinstance(description, dict) else None
    if isinstance(data, dict) and data.get("type") == "Feature":
        return [data], None
    try:
        nuclei = nuclei_features(data)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidLabelsError(f"a nucleus is damaged ({error})") from None
    if nuclei is not None:
        return nuclei, None
    found = f"type {data.get('type')!r}" if isinstance(data, dict) else type(data).__name__
    raise InvalidLabelsError(f"no GeoJSON features ({found}): expected a FeatureCollection, a Feature or a list of features")


def _flat(features: list[Any]) -> Iterator[Any]:
    """Yield features, and after each the children that QuPath nested in it."""
    waiting = list(reversed(features))
    while waiting:
        one = waiting.pop()
        yield one
        properties = one.get("properties") if isinstance(one, dict) else None
        children = (properties or {}).get("childObjects", []) if isinstance(properties, dict) else []
        waiting += reversed(children) if isinstance(children, list) else []


def _shape(one: Mapping[str, Any]) -> Shape:
    properties = one.get("properties") or {}
    kind = str(properties.get("objectType") or properties.get("object_type") or one.get("id") or "annotation")
    kind = LEGACY.get(kind, kind)
    name, colour = peer_class(properties)
    return Shape(
        kind=kind if kind.casefold() in KINDS else "annotation",
        polygons=_polygons(one.get("geometry")),
        class_name=name,
        colour=colour,
        nucleus=_polygons(one.get("nucleusGeometry")),
        measurements=_measurements(properties.get("measurements")),
        metadata=properties.get("metadata") or {},
    )


def _polygons(geometry: Mapping[str, Any] | None) -> list[Polygon]:
    if geometry is None:
        return []
    if geometry["type"] == "GeometryCollection":
        return [polygon for part in geometry["geometries"] for polygon in _polygons(part)]
    if geometry["type"] == "Polygon":
        return _polygon(geometry["coordinates"])
    if geometry["type"] == "MultiPolygon":
        return [polygon for part in geometry["coordinates"] for polygon in _polygon(part)]
    return []


def _polygon(rings: list[Any]) -> list[Polygon]:
    found = [_ring(ring) for ring in rings if len(ring) >= 3]
    return [found] if found else []


def _ring(points: list[Any]) -> Ring:
    ring = np.array([point[:2] for point in points], float)
    if not (np.abs(ring) < FARTHEST).all():
        raise ValueError(f"a coordinate that is no number below {FARTHEST:,.0f}")
    return ring if (ring[0] == ring[-1]).all() else np.concatenate([ring, ring[:1]])


def _measurements(values: Any) -> dict[str, float]:
    if isinstance(values, list):  # until QuPath 0.3
        values = {one["name"]: one["value"] for one in values}
    pairs = values.items() if isinstance(values, dict) else ()
    return {str(name): np.nan if value is None else float(value) for name, value in pairs}
