"""Pixel values of any depth to 8-bit RGB (docs/decisions/0021)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.moved import renamed

DEPTHS = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""Values of white of the usual cameras."""
FEW = 1e-3
"""Share of the values that may lie outside of a range without deciding it: hot pixels, and what resampling adds."""
OVERSHOOT = {1: 2.0, 255: 1.1, 65535: 1.1}
"""By how much real numbers may exceed white, as resampling brings about: pictures from 0 to 255 have more than 2."""
UNDERSHOOT = 0.1
"""Share of white by which values may lie below 0."""
NEARLY_BLACK, NEARLY_WHITE = 10, 250
"""Mean grey (0-255) below and above which a picture shows hardly anything: glass is darker than 250."""


class UnknownKindError(ValueError):
    """Pixel values or a layout that cannot be shown as RGB; the message says which."""


@dataclass(frozen=True)
class Depth:
    """The range of pixel values: the value of `white`, and what must be said of it (empty for 8 bits)."""

    white: float
    note: str = ""


def as_rgb8(values: NDArray[Any], notes: list[str] | None = None) -> NDArray[np.uint8]:
    """Return 8-bit RGB of grey, grey with alpha, RGB or RGBA `values`; transparency (not premultiplied) is laid on white.

    Parameters
    ----------
    values
        (H, W) or (H, W, 1 to 4); bool, integer or float.
    notes
        What was decided about the range is appended.

    Returns
    -------
    ndarray
        uint8, (H, W, 3).

    Raises
    ------
    UnknownKindError
        If there are other channels, or the values fit no usual range.
    """
    values = values[..., None] if values.ndim == 2 else values
    channels = values.shape[-1]
    if values.ndim != 3 or not 1 <= channels <= 4:
        raise UnknownKindError(f"an image of shape {values.shape}; expected 1 (grey) to 4 (RGB with transparency) channels")
    bytes_ = with_alpha(values, notes) if channels in (2, 4) else to_uint8(values, notes=notes)
    return np.ascontiguousarray(np.broadcast_to(bytes_, (*values.shape[:2], 3)))


def with_alpha(values: NDArray[Any], notes: list[str] | None = None, premultiplied: bool = False) -> NDArray[np.uint8]:
    """Lay colours with transparency in the last channel (H, W, 2 or 4) on white; the ranges of both are found apart."""
    colour, alpha = values[..., :-1], values[..., -1:]
    opacity = to_uint8(alpha)
    seen = colour[(opacity[..., 0] == 255) if premultiplied else (opacity[..., 0] > 0)] if colour.dtype != np.uint8 else colour
    bytes_ = to_uint8(colour, find_depth(seen if seen.size else colour), notes)
    if not premultiplied:
        return on_white(bytes_, opacity)
    filled: NDArray[np.uint8] = np.minimum(bytes_.astype(np.uint16) + (255 - opacity), 255).astype(np.uint8)
    return filled  # white fills up what is missing


def on_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay `colour` with opacity `alpha` (0-255, not premultiplied) on white."""
    weight = alpha.astype(np.uint16)
    return ((colour * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def to_uint8(values: NDArray[Any], depth: Depth | None = None, notes: list[str] | None = None) -> NDArray[np.uint8]:
    """Scale values linearly to 0-255, by the range that their type, or else nearly all of them, tell.

    One factor for all pixels and channels keeps colours comparable between images of one camera; percentiles would not.

    Parameters
    ----------
    depth
        Their range; None: as :func:`find_depth` finds it.
    notes
        What must be said of the range is appended.

    Raises
    ------
    UnknownKindError
        If they fit no usual range.
    """
    depth = find_depth(values) if depth is None else depth
    if notes is not None and depth.note:
        notes.append(depth.note)
    if values.dtype == np.uint8 and depth.white == 255:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    scaled = values * np.float32(255 / depth.white)
    np.clip(scaled, 0, 255, out=scaled)
    return np.rint(scaled).astype(np.uint8)


def find_depth(values: NDArray[Any]) -> Depth:
    """Return the range of colour values (no transparency among them): the smallest usual one that holds nearly all.

    Raises
    ------
    UnknownKindError
        If there is none.
    """
    kind, bits = values.dtype.kind, 8 * values.dtype.itemsize
    if values.dtype == np.uint8 or kind == "b" or not values.size:
        return Depth(255 if kind != "b" else 1)
    if kind not in "uif":
        raise UnknownKindError(f"pixels of type {values.dtype}; expected integers or real numbers")
    white = _white(values)
    cut = "; a few values outside are cut off" if _outside(values, 0, white) else ""
    if kind == "f":
        return Depth(white, f"{bits}-bit real numbers, read as 0 to {white}{cut}")
    return Depth(white, f"{bits}-bit, {white.bit_length()} bits used{cut}")


def is_depth(note: str) -> bool:
    """Return whether a note only tells a range that was understood."""
    return re.match(r"\d+-bit", note) is not None


def stated_depth(bits: int) -> Depth:
    """Return the range of integers packed in a number of bits that no array has, such as 4 or 12: the file states it."""
    return Depth(2**bits - 1, f"{bits}-bit")


def _white(values: NDArray[Any]) -> int:
    """Return the value of white: 1 (real numbers), or that of the smallest usual camera depth."""
    low, high = values.min(), values.max()
    real = values.dtype.kind == "f"
    if real and not np.isfinite([low, high]).all():
        raise UnknownKindError("pixel values that are not finite (NaN or infinite); expected 0-1, 0-255 or 0-65535: replace them")
    whites = [1, *DEPTHS] if real else list(DEPTHS)
    few = FEW * values.size
    for white in whites:
        if _outside(values, -np.inf, white * OVERSHOOT.get(white, 1.0) if real else white) <= few:
            if _outside(values, -UNDERSHOOT * white, np.inf) <= few:
                return white
            break
    raise UnknownKindError(f"pixel values from {low:g} to {high:g}; expected 0-1, 0-255 or 0-65535: rescale the image")


def _outside(values: NDArray[Any], low: float, high: float) -> int:
    """Return how many values are below `low` or above `high`."""
    above = 0 if high == np.inf else int(np.count_nonzero(values > high))
    return above + (0 if low == -np.inf or values.dtype.kind == "u" else int(np.count_nonzero(values < low)))


def brightness_notes(pixels: NDArray[np.uint8]) -> list[str]:
    """Return a warning if a picture, uint8 (H, W, 3), is nearly black or white."""
    brightness = Brightness()
    brightness.add(pixels)
    return brightness.notes


class Brightness:
    """The mean grey of a picture that comes in parts, and what must be said of it."""

    def __init__(self) -> None:
        self._sum = self._count = 0

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Take a part of the picture, uint8 (H, W, 3); a sixteenth of its pixels tells as much as all."""
        some = pixels[::4, ::4]
        self._sum += int(some.sum(dtype=np.int64))
        self._count += some.size

    @property
    def notes(self) -> list[str]:
        """A warning if the picture is nearly black or white."""
        mean = self._sum / self._count if self._count else 128.0
        if NEARLY_BLACK <= mean <= NEARLY_WHITE:
            return []
        return [f"the picture is nearly {'black' if mean < NEARLY_BLACK else 'white'}: it shows hardly anything"]


__getattr__ = renamed(__name__, UnknownKind="UnknownKindError")
