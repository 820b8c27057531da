"""Shapes layers to QuPath's GeoJSON and to labels, and outlines from files as Shapes layers; pure NumPy, no napari."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.labels.geojson.features import Shape
from napari_sdmae.io.labels.geojson.write import feature, geometry_of, write_features
from napari_sdmae.io.labels.shapes import AREAS, counted, polygons_of
from napari_sdmae.labels.label_map import Colour, LabelClass
from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.layers.base import LayerData
from napari_sdmae.layers.labels import place_of

SPACE = uuid.UUID("5d2b9f0e-6f0c-4c0b-9a53-1d1c7f6a2c11")
"""In which the ids of drawn shapes follow from what is drawn."""
UNKNOWN_COLOUR: Colour = (200, 200, 200)
CLASS_COLUMNS = ("class", "classification", "label", "name")
"""Features of a Shapes layer that may hold the class of a shape, in this order."""


def drawn(data: Sequence[NDArray[Any]], attributes: Mapping[str, Any]) -> tuple[list[Shape], Counter[str]]:
    """Return the areas of a Shapes layer in full-resolution (x, y) of the source, and what was left out, by its kind.

    Parameters
    ----------
    data
        One array (N, D) of corners per shape; the last two axes are row and column, pixel centres at integers.
    attributes
        The layer's arguments: shape_type, features, edge_color, scale, translate, units, as far as there are any.

    Raises
    ------
    ValueError
        If the layer's pixels are no squares.
    """
    _, (top, left), step = place_of(attributes)
    kinds = attributes.get("shape_type", "polygon")
    kinds = [kinds] * len(data) if isinstance(kinds, str) else [str(kind) for kind in kinds]
    names, colours = shape_classes(attributes.get("features", {}), len(data)), _edge_colours(attributes, len(data))
    shapes: list[Shape] = []
    left_out: Counter[str] = Counter()
    for corners, kind, name, colour in zip(data, kinds, names, colours, strict=True):
        points = (np.asarray(corners, float)[:, [-1, -2]] + 0.5) * step + (left, top)
        polygons = polygons_of(kind, points)
        if polygons:
            shapes.append(Shape("annotation", polygons, name, colour))
        else:
            left_out[kind if kind not in AREAS else f"empty {kind}"] += 1
    return shapes, left_out


def write_shapes(
    data: Sequence[NDArray[Any]], attributes: Mapping[str, Any], path: Path, *, overwrite: bool = False
) -> Counter[str]:
    """Write the areas of a Shapes layer as QuPath's annotations; return what was left out, by its kind.

    Raises
    ------
    ValueError
        If the layer's pixels are no squares, or no shape encloses an area.
    FileExistsError, OSError
        If the file is there, or cannot be written.
    """
    shapes, left_out = drawn(data, attributes)
    if not shapes:
        raise ValueError(
            f"no shape encloses an area ({counted(left_out) or 'the layer is empty'}): draw polygons, rectangles or ellipses"
        )
    features = [_feature(one) for one in shapes]
    drawn_as = json.dumps([{**one, "id": ""} for one in features])
    write_features(path, features, space=uuid.uuid5(SPACE, drawn_as), overwrite=overwrite)
    return left_out


def shapes_layer(shapes: Sequence[Shape], name: str, about: Mapping[str, Any], mpp: float | None = None) -> LayerData:
    """Return areas without holes as a Shapes layer; the parts of one object are shapes of their own with its number."""
    rows = [(number, one, polygon[0]) for number, one in enumerate(shapes, 1) for polygon in one.polygons]
    data = [ring[:-1, ::-1] - 0.5 for _, _, ring in rows]
    colours = [[*(one.colour or UNKNOWN_COLOUR), 255] for _, one, _ in rows]
    attributes = {
        "name": name,
        "shape_type": "polygon",
        "edge_color": np.array(colours, float).reshape(-1, 4) / 255,
        "face_color": "transparent",
        "edge_width": 3.0,
        "features": {"object": [number for number, _, _ in rows], "class": [one.class_name or "" for _, one, _ in rows]},
        "metadata": {METADATA_KEY: {"name": name, **about}},
    }
    place = {} if mpp is None else {"scale": (mpp, mpp), "units": ("µm", "µm")}
    return data, attributes | place, "shapes"


def _feature(shape: Shape) -> dict[str, Any]:
    known = LabelClass(value=1, name=shape.class_name, colour=shape.colour or UNKNOWN_COLOUR) if shape.class_name else None
    return feature(geometry_of(shape.polygons), "annotation", classification=known, name=shape.class_name)


def shape_classes(table: Mapping[str, Any], count: int) -> list[str | None]:
    """Return the class of each of `count` shapes by the features of their layer; None where it has none."""
    column = next((name for name in CLASS_COLUMNS if name in table), None)
    if column is None:
        return [None] * count
    found = [str(value).strip() for value in np.asarray(table[column]).tolist()]
    return [name if name and name.lower() not in ("nan", "none", "<na>") else None for name in found]


def _edge_colours(attributes: Mapping[str, Any], count: int) -> list[Colour | None]:
    edges = np.asarray(attributes.get("edge_color", ()))
    if edges.dtype.kind not in "fiu" or edges.shape != (count, 4):
        return [None] * count
    triples = np.round(edges[:, :3] * 255).astype(int).tolist()
    return [(red, green, blue) for red, green, blue in triples]
