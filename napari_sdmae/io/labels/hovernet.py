"""Nuclei as HoVer-Net and TIAToolbox write them: a dictionary of contours with types, as features of GeoJSON.

Their contours are OpenCV's: they pass through the centres of the outermost pixels, counted from 0 at the first centre.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely

from napari_sdmae.labels.outlines import FARTHEST

MARGIN = 0.25
"""Around the centres of the outermost pixels, in px: takes these in and no others, which lie at least 0.7 px away."""


def nuclei_features(data: Any) -> list[dict[str, Any]] | None:
    """Return a feature for each nucleus; None if `data` is no such dictionary.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a nucleus is damaged.
    """
    nuclei = data.get("nuc", data) if isinstance(data, Mapping) else None
    if not isinstance(nuclei, Mapping) or not nuclei:
        return None
    if not all(isinstance(one, Mapping) and "contour" in one for one in nuclei.values()):
        return None
    names = data.get("type_map") or data.get("type_info") or {}
    return [_feature(one, names) for one in nuclei.values()]


def _feature(nucleus: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    kind = nucleus.get("type")
    named = names.get(str(kind)) if isinstance(names, Mapping) else None
    named = named[0] if isinstance(named, list) else named  # HoVer-Net: [name, colour]
    name = str(named) if named else None if kind is None else kind if isinstance(kind, str) else f"type {kind}"
    probability = nucleus.get("type_prob", nucleus.get("prob"))
    measured = {} if probability is None else {"type probability": probability}
    geometry = {"type": "Polygon", "coordinates": _outline(nucleus["contour"])}
    properties = {"objectType": "detection", "classification": None if name is None else {"name": name}, "measurements": measured}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _outline(contour: Any) -> list[list[list[float]]]:
    """Return the ring around the pixels of a contour, in px from the corner of the first pixel."""
    points = np.asarray(contour, float).reshape(-1, 2) + 0.5
    if not len(points) or not (np.abs(points) < FARTHEST).all():
        raise ValueError(f"a contour without points, or with a coordinate that is no number below {FARTHEST:,.0f}")
    line = shapely.MultiPoint(points) if len(points) == 1 else shapely.LineString([*points, points[0]])
    filled = [line] if len(points) < 4 else [line, shapely.make_valid(shapely.Polygon(points))]
    around = shapely.buffer(shapely.unary_union(filled), MARGIN, quad_segs=2)
    return [np.asarray(around.exterior.coords).tolist()]
