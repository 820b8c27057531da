"""A picture at the scale of the model, and what the model says back on the pixels of the picture.

All pixels are squares with corners at whole numbers: pixel i of a grid that is `factor` times as fine covers
[i / factor, (i + 1) / factor). Pictures are resized as those that heads are trained on, and any part as within the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.io.images.pictures import Picture
from napari_sdmae.notices import scale_notes
from napari_sdmae.typing import RGB, Floats


@dataclass(frozen=True)
class RescaledPicture:
    """A picture as the model sees it: `rows` × `columns` px."""

    picture: Picture
    rows: int
    columns: int

    @property
    def factor(self) -> tuple[float, float]:
        """Model pixels per picture pixel, along rows and columns."""
        return self.rows / self.picture.height, self.columns / self.picture.width

    def read(self, top: int, left: int, height: int, width: int) -> RGB:
        """Return a rectangle in pixels of the model, uint8 (height, width, 3); averaged where the picture is finer."""
        if (self.rows, self.columns) == (self.picture.height, self.picture.width):
            return np.ascontiguousarray(self.picture.read(top, left, height, width))
        rows = _under(top, height, self.factor[0], self.picture.height)
        columns = _under(left, width, self.factor[1], self.picture.width)
        pixels = self.picture.read(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
        box = (
            left / self.factor[1] - columns[0],
            top / self.factor[0] - rows[0],
            min((left + width) / self.factor[1] - columns[0], pixels.shape[1]),
            min((top + height) / self.factor[0] - rows[0], pixels.shape[0]),
        )
        resized = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BILINEAR, box=box)
        return np.asarray(resized)


def _under(start: int, length: int, factor: float, limit: int) -> tuple[int, int]:
    """Return the picture pixels under model pixels, with those around that the filter looks at."""
    reach = ceil(1 / factor) + 2
    return max(0, floor(start / factor) - reach), min(limit, ceil((start + length) / factor) + reach)


def rescale(picture: Picture, mpp: float | None, patch: int, otherwise: float = 1.0) -> tuple[RescaledPicture, list[str]]:
    """Return `picture` as a model of scale `mpp` (µm per pixel) and patches of `patch` px sees it, and what must be said.

    Where a scale is unknown, it sees `otherwise` px per picture pixel.

    Raises
    ------
    InvalidFieldError
        If less than one patch would be seen.
    """
    notes: list[str] = []
    if picture.mpp is None or mpp is None:
        factor = otherwise
        seen = "as they are" if factor == 1 else f"resized {factor:.3g} times, as its training images were"
        if mpp is None:
            notes.append(f"the scale of the model's training images is unknown: it sees the pixels {seen}")
        else:
            notes.append(f"the scale of the picture is unknown: the model sees the pixels {seen}; give mpp")
    else:
        factor = picture.mpp / mpp
    rows, columns = max(1, round(picture.height * factor)), max(1, round(picture.width * factor))
    if min(rows, columns) < patch:
        raise InvalidFieldError(
            f"the field of {picture.height} x {picture.width} px is {rows} x {columns} px at the model's scale, less than one "
            f"patch of {patch} px; choose a larger region"
        )
    shown = mpp if mpp and factor < 1 else picture.mpp  # reduced it has the detail of the model, enlarged its own
    return RescaledPicture(picture, rows, columns), [*notes, *scale_notes(mpp, shown)]


@dataclass(frozen=True)
class LabelGrid:
    """The label pixels of a picture along one side.

    Attributes
    ----------
    length
        Number of label pixels.
    step
        Picture pixels per label pixel.
    factor
        Model pixels per picture pixel.
    """

    length: int
    step: int
    factor: float

    def span(self, start: int, stop: int, last: bool = True) -> tuple[int, int]:
        """Return which label pixels have their centre between two model pixels; up to the end if it is the `last` span."""
        size = self.step * self.factor
        first, end = (ceil(edge / size - 0.5) for edge in (start, stop))
        return max(0, first), self.length if last else min(self.length, end)

    def positions(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return where the centres of label pixels `start` to `stop` lie: model pixels, the centre of the first at 0."""
        return np.asarray((np.arange(start, stop) + 0.5) * (self.step * self.factor) - 0.5, np.float64)


def label_grids(seen: RescaledPicture, step: int) -> tuple[LabelGrid, LabelGrid]:
    """Return the grids of label pixels along rows and columns."""
    lengths = ceil(seen.picture.height / step), ceil(seen.picture.width / step)
    return LabelGrid(lengths[0], step, seen.factor[0]), LabelGrid(lengths[1], step, seen.factor[1])


def linear(maps: Floats, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Floats:
    """Return maps (C, h, w) at positions `rows` (n,) × `columns` (m,), linear between pixel centres: (C, n, m)."""
    return _linear(_linear(maps, rows, 1), columns, 2)


def _linear(maps: Floats, positions: NDArray[np.float64], axis: int) -> Floats:
    inside = np.clip(positions, 0, maps.shape[axis] - 1)
    low = np.floor(inside).astype(np.intp)
    share = (inside - low).astype(np.float32)
    first = maps.take(low, axis)
    if not share.any():
        return first
    shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
    second = maps.take(np.minimum(low + 1, maps.shape[axis] - 1), axis)
    second -= first
    second *= share.reshape(shape)
    first += second
    return first


def nearest(labels: NDArray[np.int32], rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return labels (h, w) at positions `rows` (n,) × `columns` (m,), of the pixel under each: (n, m)."""
    row, column = (
        np.clip(np.floor(positions + 0.5), 0, edge - 1).astype(np.intp)
        for positions, edge in zip((rows, columns), labels.shape, strict=True)
    )
    return labels.take(row, 0).take(column, 1)
