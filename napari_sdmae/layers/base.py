"""Results as napari LayerData tuples; the one place where a derived layer gets its position, name and provenance.

Pure NumPy: neither napari nor torch is imported. A layer is only looked at through its public attributes.

Coordinates are (row, column) and integers are pixel centres, as in napari. A layer maps data to world as
``affine · (rotate · shear · scale · data + translate)``.

Maps shifted by half a patch, and results without scale and units, are common complaints. `placed` copies rotate, shear,
affine, units and axis labels of the source, multiplies its scale by the cell (patch × pyramid step) and translates to the
centre of the first element. A slice of a stack becomes a layer of the same dimensions, visible on its own slice only. Tests
compare corners through napari's own transforms, for rotated, sheared and affine sources and pyramids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sdmae.labels.serialization import METADATA_KEY

LayerData = tuple[Any, dict[str, Any], str]
Floats = NDArray[np.float64]

GAP = 0.05
"""Space between pictures shown side by side, as fraction of their width."""


@dataclass(frozen=True, eq=False)
class Source:
    """Name and place of the layer that others are derived from.

    ``scale`` and ``translate`` have shape (N,), ``rotate`` (N, N), ``affine`` (N+1, N+1); ``shear`` is napari's
    vector of the upper triangle or a full (N, N) matrix. N counts no colour channels.
    """

    name: str
    id: str
    scale: Floats
    translate: Floats
    rotate: Floats
    shear: Floats
    affine: Floats
    units: tuple[Any, ...]
    axis_labels: tuple[str, ...]

    @classmethod
    def of(cls, layer: Any) -> Source:
        """Return name and place of `layer`, a napari layer."""
        return cls(
            layer.name,
            str(layer.unique_id),
            np.asarray(layer.scale, float),
            np.asarray(layer.translate, float),
            np.asarray(layer.rotate, float),
            np.asarray(layer.shear, float),
            np.asarray(layer.affine.affine_matrix, float),
            tuple(layer.units),
            tuple(layer.axis_labels),
        )

    def without(self, axis: int) -> Source:
        """Return the place in the other axes: layers derived from it are shown at every position along `axis`."""
        kept = [one for one in range(len(self.scale)) if one != axis]
        square = np.ix_(kept, kept)
        return replace(
            self,
            scale=self.scale[kept],
            translate=self.translate[kept],
            rotate=self.rotate[square],
            shear=self.shear_matrix[square],
            affine=self.affine[np.ix_([*kept, len(self.scale)], [*kept, len(self.scale)])],
            units=tuple(self.units[one] for one in kept),
            axis_labels=tuple(self.axis_labels[one] for one in kept),
        )

    def same_place(self, other: Source) -> bool:
        """Tell whether both lie at the same place in the same scale and units, whatever they are called."""
        names = ("scale", "translate", "rotate", "shear", "affine")
        same = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)
        return same and [str(unit) for unit in self.units] == [str(unit) for unit in other.units]

    @property
    def shear_matrix(self) -> Floats:
        """The shear as a matrix (N, N)."""
        if self.shear.ndim > 1:
            return self.shear
        shear = np.eye(len(self.scale))
        shear[np.triu_indices(len(self.scale), 1)] = self.shear
        return shear

    @property
    def linear(self) -> Floats:
        """Matrix (N, N) that takes a step in data to a step before the affine: rotate · shear · scale."""
        product: Floats = self.rotate @ self.shear_matrix @ np.diag(self.scale)
        return product

    @property
    def mpp(self) -> float | None:
        """Micrometres per pixel along a row, or None where the units are no lengths."""
        try:
            return float((self.scale[-1] * self.units[-1]).to("micrometer").magnitude)
        except Exception:  # pint raises its own errors for pixels, and a plain string has no .to
            return None


@dataclass(frozen=True, eq=False)
class Field:
    """A rectangle of one slice of a source: what was computed on.

    Parameters
    ----------
    source
        The layer it was cut from.
    origin
        (row, column) of its first pixel in the source, full resolution.
    size
        (rows, columns) in px of the field.
    step
        Source pixels per field pixel: 1, or the downsampling of the pyramid level that was read.
    index
        Position along the source's leading axes (slice, time).
    width
        Columns of the whole source, full resolution; 0 when the field is the whole source.
    """

    source: Source
    origin: tuple[int, int]
    size: tuple[int, int]
    step: float = 1.0
    index: tuple[float, ...] = ()
    width: int = 0

    def position(self, row: float, column: float) -> Floats:
        """Return the source's data coordinates of the field's pixel coordinates (`row`, `column`)."""
        shift = (self.step - 1) / 2
        place = np.array([row, column]) * self.step + self.origin + shift
        return np.concatenate([np.asarray(self.index, float), place])

    def pixel(self, position: ArrayLike) -> tuple[float, float]:
        """Return the field's pixel coordinates of the source's data coordinates `position`; inverse of :meth:`position`."""
        shift = (self.step - 1) / 2
        row, column = (np.asarray(position, float)[-2:] - self.origin - shift) / self.step
        return float(row), float(column)

    def contains(self, row: float, column: float) -> bool:
        """Tell whether the field's pixel coordinates lie in it."""
        return -0.5 <= row < self.size[0] - 0.5 and -0.5 <= column < self.size[1] - 0.5

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two fields the same part of the same picture."""
        return self.source.id, self.origin, self.size, self.step, self.index

    @property
    def mpp(self) -> float | None:
        """Micrometres per pixel of the field."""
        return None if self.source.mpp is None else self.source.mpp * self.step


def placed(field: Field, *, cell: Sequence[float] = (1.0, 1.0), first: Sequence[float] = (0.0, 0.0)) -> dict[str, Any]:
    """Return the layer arguments that put an array on `field`.

    Parameters
    ----------
    field
        Where.
    cell
        (rows, columns) of field pixels per array element: (1, 1), or patch size for one value per patch.
    first
        Centre of element (0, 0) in field pixels: ((patch - 1) / 2 twice for one value per patch), so that a map of
        patches covers exactly its patches instead of being shifted by half a patch.
    """
    source = field.source
    leading = len(source.scale) - 2
    factor = np.concatenate([np.ones(leading), np.asarray(cell, float) * field.step])
    translate = source.translate + source.linear @ field.position(*first)
    return {
        "scale": source.scale * factor,
        "translate": translate,
        "rotate": source.rotate,
        "shear": source.shear,
        "affine": source.affine,
        "units": source.units,
        "axis_labels": source.axis_labels,
    }


def derived(
    field: Field,
    array: NDArray[Any],
    what: str,
    key: str,
    provenance: Mapping[str, Any],
    *,
    cell: Sequence[float] = (1.0, 1.0),
    first: Sequence[float] = (0.0, 0.0),
    kind: str = "image",
    **display: Any,
) -> LayerData:
    """Return `array` as a layer on `field`.

    Parameters
    ----------
    field
        Where the array was computed.
    array
        (rows, columns) or (rows, columns, 3); singleton axes are put before it for a slice of a stack.
    what
        Said after the image's name: ``attention b12 h3``.
    key
        Which of the source's derived layers this is; a later layer of the same source and key replaces it.
    provenance
        Kept in ``metadata["sdmae"]``: run or model, and parameters.
    cell, first
        See :func:`placed`.
    kind
        ``image``, ``labels`` …
    **display
        Further arguments of the layer, such as colormap and opacity.
    """
    array = array[(np.newaxis,) * (len(field.source.scale) - 2)]
    return array, attributes(field, what, key, provenance) | placed(field, cell=cell, first=first) | display, kind


def attributes(field: Field, what: str, key: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return name and metadata of a layer derived from `field`'s source."""
    name = f"{field.source.name} · {what}"
    return {"name": name, "metadata": {METADATA_KEY: {"id": f"{field.source.id}/{key}", "name": name, **provenance}}}


def layer_id(layer: LayerData) -> str:
    """Return the id of a derived layer, by which it is found in the viewer."""
    return str(layer[1]["metadata"][METADATA_KEY]["id"])


def query_marker(places: Sequence[Field], centre: tuple[float, float], cell: Sequence[float]) -> LayerData:
    """Return the outline of the patch whose map is shown: a Points layer with a square at `centre` (field px) of each place."""
    display = {
        "size": float(max(cell)),
        "symbol": "square",
        "face_color": "transparent",
        "border_color": "#00e5ff",
        "border_width": 0.15,
        "border_width_is_relative": True,
        "opacity": 1.0,
    }
    field = places[0]
    centres = [np.array(centre) + (np.array(place.origin) - field.origin) / field.step for place in places]
    points = np.pad(np.array(centres), [(0, 0), (len(field.source.scale) - 2, 0)])
    return points, attributes(field, "query patch", "attention/query", {}) | placed(field) | display, "points"


def mosaic(maps: NDArray[Any], columns: int, gap: int = 1) -> tuple[NDArray[Any], list[tuple[int, int]]]:
    """Lay `maps` (N, rows, columns[, 3]) out in rows of `columns`, with `gap` empty cells between them.

    Returns the picture, with NaN (float) or 0 in the gaps, and the (row, column) of each map's first element.
    """
    count, height, width = maps.shape[:3]
    lines = -(-count // columns)
    columns = min(columns, count)
    shape = (lines * (height + gap) - gap, columns * (width + gap) - gap, *maps.shape[3:])
    picture = np.full(shape, np.nan if maps.dtype.kind == "f" else 0, maps.dtype)
    corners = [(index // columns * (height + gap), index % columns * (width + gap)) for index in range(count)]
    for (row, column), one in zip(corners, maps, strict=True):
        picture[row : row + height, column : column + width] = one
    return picture, corners


def robust_limits(*maps: NDArray[Any], from_zero: bool = True) -> tuple[float, float]:
    """Return contrast limits common to `maps`: from 0, or the 0.5th percentile, to the 99.5th percentile.

    One bright patch must not darken all others, and two models compare on one scale only.
    """
    values = np.concatenate([one[np.isfinite(one)].ravel() for one in maps])
    low, high = (float(limit) for limit in np.percentile(values, (0.5, 99.5))) if values.size else (0.0, 1.0)
    low = 0.0 if from_zero else low
    return low, high if high > low else low + 1.0


def beside(field: Field, places: int = 1) -> Field:
    """Return the field moved right of the whole picture, to the first, second … place there; 0 is the field itself."""
    if places == 0:
        return field
    width = round(field.size[1] * field.step)
    gap = round(GAP * width)
    start = (field.width or field.origin[1] + width) + gap
    return replace(field, origin=(field.origin[0], start + (places - 1) * (width + gap)))
