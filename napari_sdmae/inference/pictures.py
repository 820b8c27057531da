"""Pictures that are read from top to bottom, a band at a time, so that their size is no matter of memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from napari_sdmae.inference.fields import RGB, FieldError, Region
from napari_sdmae.io.images import UnusableImage, image_size, read_bands, read_mpp

BAND = 256
"""Rows decoded at once."""


class Picture(Protocol):
    """A picture of `height` × `width` px, `mpp` µm per pixel (None: unknown), called `source`."""

    @property
    def height(self) -> int:
        """Rows in px."""

    @property
    def width(self) -> int:
        """Columns in px."""

    @property
    def mpp(self) -> float | None:
        """Micrometres per pixel."""

    @property
    def source(self) -> str:
        """File or layer, as text."""

    @property
    def corner(self) -> tuple[int, int]:
        """(row, column) of its first pixel in the source."""

    def read(self, row: int, column: int, height: int, width: int) -> RGB:
        """Return a rectangle, uint8 (height, width, 3); `row` is never above the one of an earlier call."""


@dataclass(frozen=True)
class ArrayPicture:
    """Pixels in memory, uint8 (H, W, 3)."""

    pixels: RGB
    mpp: float | None = None
    source: str = ""
    corner: tuple[int, int] = (0, 0)

    @property
    def height(self) -> int:
        """Rows in px."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns in px."""
        return int(self.pixels.shape[1])

    def read(self, row: int, column: int, height: int, width: int) -> RGB:
        """Return a rectangle, uint8 (height, width, 3)."""
        return self.pixels[row : row + height, column : column + width]


class FilePicture:
    """A file, of which only the bands under the rectangle read last are in memory (TIFF; other formats are decoded whole).

    Parameters
    ----------
    path
        PNG, JPEG, TIFF or BMP; of a pyramid the largest level.
    mpp
        µm per pixel; None: as the file states.

    Raises
    ------
    UnusableImage
        If the file cannot be used; the message names it.
    """

    def __init__(self, path: Path, mpp: float | None = None) -> None:
        self._path = path
        self.source = str(path)
        self.corner = (0, 0)
        try:
            self.height, self.width = image_size(path)
            self.mpp = mpp or read_mpp(path)
        except UnusableImage as error:
            raise UnusableImage(f"{path}: {error}") from error
        self._bands = read_bands(path, BAND)
        self._held: list[RGB] = []
        self._first = self._below = 0

    def read(self, row: int, column: int, height: int, width: int) -> RGB:
        """Return a rectangle, uint8 (height, width, 3); `row` is never above the one of an earlier call."""
        if row < self._first:
            raise ValueError(f"row {row} was let go: this picture is read from top to bottom, now from row {self._first}")
        while self._held and self._first + len(self._held[0]) <= row:
            self._first += len(self._held.pop(0))
        while self._below < row + height:
            self._decode(row)
        parts, top = [], self._first
        for band in self._held:
            parts.append(band[max(row - top, 0) : max(row + height - top, 0), column : column + width])
            top += len(band)
        return np.concatenate(parts)

    def _decode(self, row: int) -> None:
        """Decode one more band; it is kept if it reaches down to `row`."""
        try:
            band = next(self._bands, None)
        except UnusableImage as error:
            raise UnusableImage(f"{self._path}: {error}") from error
        if band is None:
            raise UnusableImage(f"{self._path}: ends after {self._below} of {self.height} rows; copy the file again")
        self._below += len(band)
        if self._below <= row:
            self._first = self._below
        else:
            self._held.append(band)


@dataclass(frozen=True)
class Part:
    """A `region` of another picture, as if it were all there is."""

    whole: Picture
    region: Region
    corner: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        row, column, height, width = self.region
        whole = self.whole
        if min(row, column) < 0 or min(height, width) < 1 or row + height > whole.height or column + width > whole.width:
            raise FieldError(
                f"region {height} x {width} px at row {row}, column {column} is not inside the image of "
                f"{whole.height} x {whole.width} px; choose one that is"
            )
        object.__setattr__(self, "corner", (whole.corner[0] + row, whole.corner[1] + column))

    @property
    def height(self) -> int:
        """Rows in px."""
        return self.region[2]

    @property
    def width(self) -> int:
        """Columns in px."""
        return self.region[3]

    @property
    def mpp(self) -> float | None:
        """Micrometres per pixel."""
        return self.whole.mpp

    @property
    def source(self) -> str:
        """File or layer, as text."""
        return self.whole.source

    def read(self, row: int, column: int, height: int, width: int) -> RGB:
        """Return a rectangle, uint8 (height, width, 3); `row` is never above the one of an earlier call."""
        return self.whole.read(self.region[0] + row, self.region[1] + column, height, width)
