"""What a person draws, as valid polygons: newer QuPath refuses outlines that cross themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from napari_sdmae.humanize import several
from napari_sdmae.labels.outlines import Polygon

AREAS = ("polygon", "rectangle", "ellipse")
"""Kinds of shapes that enclose an area; lines and paths do not."""
ELLIPSE_POINTS = 72


def polygons_of(kind: str, corners: NDArray[np.floating]) -> list[Polygon]:
    """Return a drawn shape as polygons that cross neither themselves nor each other; empty if it encloses nothing.

    Parameters
    ----------
    kind
        One of `AREAS`; of an ellipse the four corners of the rectangle around it are given.
    corners
        (N, 2) x, y.
    """
    points = _ellipse(corners) if kind == "ellipse" else np.asarray(corners, float)
    if kind not in AREAS or len(points) < 3:
        return []
    mended = shapely.make_valid(shapely.Polygon(points))
    return [_rings(part) for part in shapely.get_parts(mended) if part.geom_type == "Polygon" and part.area > 0]


def skipped(left_out: Mapping[str, int]) -> str:
    """Return a line about what encloses no area, counted by its kind."""
    return f"skipped {counted(left_out)}: {'it encloses' if sum(left_out.values()) == 1 else 'they enclose'} no area"


def counted(kinds: Mapping[str, int]) -> str:
    """Return how many shapes there are of each kind: "2 lines, 1 path"."""
    return ", ".join(several(count, kind, f"{kind}s") for kind, count in sorted(kinds.items()))


def _ellipse(corners: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return points on the ellipse that touches the middles of the edges between four `corners`, also turned ones."""
    middle = corners.mean(axis=0)
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)[:, None]
    points: NDArray[np.float64] = middle + np.cos(angle) * across + np.sin(angle) * along
    return points


def _rings(part: Any) -> Polygon:
    turned = shapely.geometry.polygon.orient(part)
    return [np.asarray(ring.coords)[:, :2] for ring in (turned.exterior, *turned.interiors)]
