"""A field of tissue of any size, made fit for a model: RGB, downsampled, padded to whole patches or tiles.

Fields are padded at the bottom and the right only, by reflection, so that a map and its field share their origin.
Positions follow napari: the centre of pixel (0, 0) is at (0, 0), hence the centre of a cell of `s` pixels at (s - 1) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.moved import renamed
from napari_sdmae.typing import RGB

MAX_TOKENS = 4096
"""Most patches of one field: a head's attention is then 64 MB, and a ViT-S keeps 0.3 GB per field."""

MAX_PIXELS = 4096 * 4096
"""Most pixels of one field. More take minutes and gigabytes: a part of the picture answers as well."""

Region = tuple[int, int, int, int]
"""Row, column, height and width in pixels of an image."""


class InvalidFieldError(ValueError):
    """The field cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Grid:
    """Cells (patches) that cover a field: `rows` × `columns` squares of `cell` field pixels from its origin."""

    rows: int
    columns: int
    cell: int

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

    def nearest(self, position: tuple[float, float]) -> tuple[int, int]:
        """Return the (row, column) of the cell under a `position` in field pixels, clipped into the grid."""
        row, column = (int((value + 0.5) // self.cell) for value in position)
        return min(max(row, 0), self.rows - 1), min(max(column, 0), self.columns - 1)

    def centre(self, cell: tuple[int, int]) -> tuple[float, float]:
        """Return the position of the centre of a (row, column) `cell` in field pixels."""
        half = (self.cell - 1) / 2
        return cell[0] * self.cell + half, cell[1] * self.cell + half


def as_rgb(image: NDArray[np.generic]) -> RGB:
    """Return uint8 grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) as RGB; transparency shows white.

    Raises
    ------
    InvalidFieldError
        If the image has another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise InvalidFieldError(f"got an image of shape {image.shape} and type {image.dtype}; expected uint8 of shape (H, W, 3)")
    pixels = image.astype(np.uint8, copy=False)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def pad_to_multiple(image: RGB, multiple: int) -> RGB:
    """Return `image` (H, W, 3) reflected at the bottom and the right up to a multiple of `multiple` pixels."""
    extra = [(0, -edge % multiple) for edge in image.shape[:2]]
    return np.pad(image, [*extra, (0, 0)], mode="reflect")


def check_size(image: RGB, patch: int) -> None:
    """Raise InvalidFieldError if `image` (H, W, 3) is smaller than one patch of `patch` pixels."""
    height, width = image.shape[:2]
    if min(height, width) < patch:
        raise InvalidFieldError(f"the field is {height} x {width} px, less than one patch of {patch} px; choose a larger region")


def check_pixels(image: RGB) -> None:
    """Raise InvalidFieldError if `image` (H, W, 3) has more than :data:`MAX_PIXELS` pixels."""
    check_size_of(*image.shape[:2])


def check_size_of(height: int, width: int) -> None:
    """Raise InvalidFieldError if a field of `height` × `width` px has more than :data:`MAX_PIXELS` pixels."""
    if height * width > MAX_PIXELS:
        raise InvalidFieldError(
            f"the field of {height} x {width} px has {height * width / 1e6:.1f} million pixels, at most {MAX_PIXELS / 1e6:.1f} "
            "can be used at once: choose a region (--region ROW COL HEIGHT WIDTH)"
        )


def fitting_downsample(shape: tuple[int, ...], patch: int) -> int:
    """Return the smallest integer factor by which a field of `shape` (H, W, …) has at most :data:`MAX_TOKENS` patches."""
    factor = 1
    while _tokens(shape, patch * factor) > MAX_TOKENS:
        factor += 1
    return factor


def fit_to_patches(image: RGB, patch: int, downsample: int = 1) -> tuple[RGB, Grid]:
    """Return the picture that the encoder sees and the grid of its patches on the field.

    Parameters
    ----------
    image
        The field, uint8 (H, W, 3).
    patch
        Edge of the encoder's patches in pixels.
    downsample
        Integer by which the field is reduced first (mean over squares).

    Raises
    ------
    InvalidFieldError
        If the field is smaller than a patch or larger than :data:`MAX_TOKENS` patches.
    ValueError
        If the factor is less than 1.
    """
    cell = patch * downsample
    check_patches(image.shape[0], image.shape[1], patch, downsample)
    padded = pad_to_multiple(image, cell)
    rows, columns = padded.shape[0] // cell, padded.shape[1] // cell
    return reduce(padded, downsample), Grid(rows, columns, cell)


def check_patches(height: int, width: int, patch: int, downsample: int) -> None:
    """Raise InvalidFieldError if a field of `height` × `width` px has less than one patch, or more than :data:`MAX_TOKENS`.

    Raises
    ------
    ValueError
        If the factor is less than 1.
    """
    if downsample < 1:
        raise ValueError(f"downsample {downsample}: expected auto, or an integer of at least 1")
    cell = patch * downsample
    if min(height, width) < cell:
        raise InvalidFieldError(f"the field is {height} x {width} px, less than one patch of {cell} px; choose a larger region")
    if (tokens := _tokens((height, width), cell)) > MAX_TOKENS:
        side = int(MAX_TOKENS**0.5) * cell
        raise InvalidFieldError(
            f"the field of {height} x {width} px is {tokens} patches of {cell} px, more than {MAX_TOKENS}: "
            f"choose a region of at most {side} x {side} px, or downsample by {fitting_downsample((height, width), patch)}"
        )


def _tokens(shape: tuple[int, ...], cell: int) -> int:
    return ceil(shape[0] / cell) * ceil(shape[1] / cell)


def reduce(image: RGB, factor: int) -> RGB:
    """Return the mean over squares of `factor` pixels, rounded."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    means: NDArray[np.float64] = image.reshape(height, factor, width, factor, 3).mean((1, 3))
    return np.rint(means).astype(np.uint8)


__getattr__ = renamed(__name__, FieldError="InvalidFieldError")
