"""Labels as GeoJSON that QuPath opens: one object per nucleus, cell or class, with name, colour and measurements.

The rules of QuPath that this relies on, and where they are documented: docs/decisions/0081.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.atomic import atomic_path
from napari_sdmae.io.labels.description import KEY, content_id, describe
from napari_sdmae.io.labels.geojson.read import read_geojson
from napari_sdmae.io.labels.slide_bounds import Bounds, bounds_corner
from napari_sdmae.labels.label_map import LabelClass, LabelMap
from napari_sdmae.labels.objects import Window, check_labels, windows
from napari_sdmae.labels.outlines import Polygon, Ring, outlines

__all__ = ["ObjectType", "feature", "read_geojson", "write_features", "write_geojson"]

ObjectType = Literal["annotation", "detection", "cell"]
DECIMALS = 3
"""Of coordinates in px. QuPath itself keeps two."""


def write_geojson(
    label_map: LabelMap,
    path: Path,
    *,
    object_type: ObjectType | None = None,
    bounds: Bounds = None,
    overwrite: bool = False,
) -> None:
    """Write `label_map` for QuPath.

    Coordinates are (x, y) in full-resolution pixels of the source, from the corner of its first pixel. Each object
    becomes one feature; of labels that are no objects, all pixels of a class are one.

    Parameters
    ----------
    label_map
        What to write.
    path
        ``.geojson``; compressed if it ends in ``.gz``, which QuPath reads too.
    object_type
        What it is in QuPath. None: *cell* when there are nuclei, *detection* for objects, *annotation* for classes.
    bounds
        Slide (or x, y) whose ``openslide.bounds`` are subtracted, for slides that QuPath crops.
    overwrite
        Whether a file that is there may be replaced.

    Raises
    ------
    ValueError
        If the labels are none, a nucleus reaches out of its cell, or `object_type` does not fit.
    FileExistsError, OSError
        If the file is there, or cannot be written.
    """
    check_labels(label_map)
    kind = _object_type(label_map, object_type)
    corner = bounds_corner(bounds)
    description = describe(label_map) | {"bounds": list(corner), "nuclei": kind == "cell" and label_map.nuclei is not None}
    space = content_id(label_map, kind)
    features = _features(label_map, kind, corner)
    write_features(path, features, space=space, description=description, overwrite=overwrite)


def write_features(
    path: Path,
    features: Iterable[Mapping[str, Any]],
    *,
    space: uuid.UUID,
    description: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write `features` one by one as a FeatureCollection; `description` is kept beside them under our own name.

    Their ids follow from `space`: that of the same content gives the same file, another one other ids.
    """
    with atomic_path(path, overwrite) as temporary, _text(temporary, compressed=path.suffix.lower() == ".gz") as file:
        file.write('{"type": "FeatureCollection",')
        if description is not None:
            file.write(f'\n"{KEY}": {json.dumps(description, ensure_ascii=False, allow_nan=False)},')
        file.write('\n"features": [')
        between = "\n"
        for number, one in enumerate(features):
            known = {**one, "id": str(uuid.uuid5(space, str(number)))}
            file.write(between + json.dumps(known, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
            between = ",\n"
        file.write("\n]}\n")


def feature(
    geometry: Mapping[str, Any],
    kind: ObjectType,
    *,
    classification: LabelClass | None = None,
    name: str | None = None,
    nucleus: Mapping[str, Any] | None = None,
    measurements: Mapping[str, float] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return one object as QuPath reads it; what is None or empty is left out."""
    properties: dict[str, Any] = {"objectType": kind}
    if name is not None:
        properties["name"] = name
    if classification is not None:
        properties["classification"] = {"name": classification.name, "color": list(classification.colour)}
    if measurements:
        properties["measurements"] = dict(measurements)
    if metadata:
        properties["metadata"] = dict(metadata)
    inner = {} if nucleus is None else {"nucleusGeometry": nucleus}
    return {"type": "Feature", "id": str(uuid.uuid4()), "geometry": geometry, **inner, "properties": properties}


def geometry_of(polygons: Sequence[Polygon]) -> dict[str, Any]:
    """Return polygons as a GeoJSON geometry; a single one never as MultiPolygon, which QuPath refuses."""
    rings = [[_points(ring) for ring in polygon] for polygon in polygons]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def _points(ring: Ring) -> list[list[float]]:
    return cast("list[list[float]]", np.round(ring, DECIMALS).tolist())


def _object_type(label_map: LabelMap, wanted: ObjectType | None) -> ObjectType:
    if wanted is None:
        return "cell" if label_map.nuclei is not None else "detection" if label_map.instances else "annotation"
    if wanted not in get_args(ObjectType):
        raise ValueError(f"object type {wanted!r}: expected one of {', '.join(get_args(ObjectType))}")
    if wanted == "cell" and not label_map.instances:
        raise ValueError("labels of classes cannot be cells, which are single objects: choose annotation or detection")
    return wanted


def _features(label_map: LabelMap, kind: ObjectType, corner: tuple[float, float]) -> Iterator[dict[str, Any]]:
    measured = _Measurements(label_map.measurements)
    for window in windows(label_map.labels):
        known = label_map.class_at(window.label)
        yield feature(
            _geometry(label_map, label_map.labels[window.place] == window.label, window, corner),
            kind,
            classification=known,
            name=known.name if kind == "annotation" else None,
            nucleus=_nucleus(label_map, window, corner) if kind == "cell" else None,
            measurements=measured.of(window.label),
            metadata={"label": str(window.label)},
        )


def _nucleus(label_map: LabelMap, window: Window, corner: tuple[float, float]) -> dict[str, Any] | None:
    if label_map.nuclei is None:
        return None
    mask = label_map.nuclei[window.place] == window.label
    return _geometry(label_map, mask, window, corner) if mask.any() else None


def _geometry(label_map: LabelMap, mask: NDArray[np.bool_], window: Window, corner: tuple[float, float]) -> dict[str, Any]:
    first = np.array([window.columns.start, window.rows.start])
    start = np.array([label_map.origin[1], label_map.origin[0]]) - corner
    return geometry_of([[(ring + first) * label_map.step + start for ring in polygon] for polygon in outlines(mask)])


class _Measurements:
    """The measured numbers of each label; QuPath takes finite numbers only, so that all others are left out."""

    def __init__(self, columns: Mapping[str, NDArray[np.generic]]) -> None:
        self._rows = {int(label): row for row, label in enumerate(np.asarray(columns.get("label", ())).tolist())}
        numeric = {name: np.asarray(column) for name, column in columns.items() if name != "label"}
        self._columns = {name: column.tolist() for name, column in numeric.items() if column.dtype.kind in "iufb"}

    def of(self, label: int) -> dict[str, float]:
        row = self._rows.get(label)
        if row is None:
            return {}
        values = {name: float(column[row]) for name, column in self._columns.items()}
        return {name: value for name, value in values.items() if math.isfinite(value)}


@contextmanager
def _text(path: Path, compressed: bool) -> Iterator[io.TextIOBase]:
    if not compressed:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        return
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,  # neither name nor time: they change
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file,
    ):
        yield file
