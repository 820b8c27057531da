"""Pictures that are read from top to bottom, a band at a time, so that their size is no matter of memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from napari_sdmae.io.images.field import (
    Grid,
    InvalidFieldError,
    Region,
    check_patches,
    check_size_of,
    fit_to_patches,
    pad_to_multiple,
    reduce,
)
from napari_sdmae.io.images.read import InvalidImageError, read_bands, read_header
from napari_sdmae.io.images.scale import is_doubt
from napari_sdmae.io.images.tiff_planes import ANY, Which
from napari_sdmae.typing import RGB

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

    @property
    def notes(self) -> list[str]:
        """What must be known of it, a sentence each; complete when it was read to its end."""

    def read(self, row: int, column: int, height: int, width: int) -> RGB:
        """Return a rectangle, uint8 (height, width, 3); `row` is never above the one of an earlier call."""


@dataclass(frozen=True)
class ArrayPicture:
    """Pixels in memory, uint8 (H, W, 3)."""

    pixels: RGB
    mpp: float | None = None
    source: str = ""
    corner: tuple[int, int] = (0, 0)
    notes: list[str] = field(default_factory=list)

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
    which
        Scene and plane, where the file holds several.

    Raises
    ------
    InvalidImageError
        If the file cannot be used; the message names it.
    """

    def __init__(self, path: Path, mpp: float | None = None, which: Which = ANY) -> None:
        self._path = path
        self.source = str(path)
        self.corner = (0, 0)
        try:
            header = read_header(path, which)
        except InvalidImageError as error:
            raise InvalidImageError(f"{path}: {error}") from error
        self.height, self.width = header.size
        self.mpp = mpp or header.mpp
        self.notes = [note for note in header.notes if mpp is None or not is_doubt(note)]
        self._bands = read_bands(path, BAND, which, self.notes)
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
        except InvalidImageError as error:
            raise InvalidImageError(f"{self._path}: {error}") from error
        if band is None:
            raise InvalidImageError(f"{self._path}: ends after {self._below} of {self.height} rows; copy the file again")
        self._below += len(band)
        if self._below >= self.height:
            next(self._bands, None)  # its notes are complete now
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
            raise InvalidFieldError(
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

    @property
    def notes(self) -> list[str]:
        """What must be known of the whole."""
        return self.whole.notes

    def read(self, row: int, column: int, height: int, width: int) -> RGB:
        """Return a rectangle, uint8 (height, width, 3); `row` is never above the one of an earlier call."""
        return self.whole.read(self.region[0] + row, self.region[1] + column, height, width)


def open_picture(path: Path, region: Region | None = None, mpp: float | None = None, which: Which = ANY) -> Picture:
    """Open a file, or a `region` of it (row, column, height, width in px).

    Raises
    ------
    InvalidImageError, InvalidFieldError
        If the file cannot be used, or the region does not lie inside the image.
    """
    whole = FilePicture(path, mpp, which)
    return whole if region is None else Part(whole, region)


def read_field(picture: Picture) -> RGB:
    """Return all pixels of a picture, uint8 (H, W, 3), that is no larger than one field may be.

    Raises
    ------
    InvalidFieldError
        If it is larger: this is said before anything is read.
    """
    check_size_of(picture.height, picture.width)
    return picture.read(0, 0, picture.height, picture.width)


def fit_picture(picture: Picture, patch: int, downsample: int) -> tuple[RGB, Grid]:
    """Return what :func:`~napari_sdmae.io.images.field.fit_to_patches` does of the whole, reading a row of patches at a time.

    Memory follows from what the encoder sees, not from the size of the picture.

    Raises
    ------
    InvalidFieldError
        If the picture is smaller than a patch or larger than ``field.MAX_TOKENS`` patches; before anything is read.
    """
    cell = patch * downsample
    check_patches(picture.height, picture.width, patch, downsample)
    if picture.height < 2 * cell:
        return fit_to_patches(picture.read(0, 0, picture.height, picture.width), patch, downsample)
    seen = []
    for top in range(0, picture.height - cell + 1, cell):
        last = top + 2 * cell > picture.height  # with what is left below it, from which the lower end is mirrored
        rows = picture.height - top if last else cell
        seen.append(reduce(pad_to_multiple(picture.read(top, 0, rows, picture.width), cell), downsample))
    whole = np.concatenate(seen)
    return whole, Grid(whole.shape[0] // patch, whole.shape[1] // patch, cell)
