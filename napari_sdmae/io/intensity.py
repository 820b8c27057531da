"""Pixel values of any depth to 8-bit RGB (docs/decisions/0021)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CAMERA_BITS = (8, 10, 12, 14, 16)


class UnknownKind(ValueError):
    """Pixel values or a layout that cannot be shown as RGB; the message says which."""


def as_rgb8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 8-bit RGB of grey, grey with alpha, RGB or RGBA `values`; transparency (not premultiplied) is laid on white.

    Parameters
    ----------
    values
        (H, W) or (H, W, 1 to 4); bool, integer or float.

    Returns
    -------
    ndarray
        uint8, (H, W, 3).

    Raises
    ------
    UnknownKind
        If there are other channels, or the values fit no usual range.
    """
    values = values[..., None] if values.ndim == 2 else values
    channels = values.shape[-1]
    if values.ndim != 3 or not 1 <= channels <= 4:
        raise UnknownKind(f"an image of shape {values.shape}; expected 1 (grey) to 4 (RGB with transparency) channels")
    bytes_ = to_uint8(values)
    if channels in (2, 4):
        bytes_ = on_white(bytes_[..., :-1], bytes_[..., -1:])
    return np.ascontiguousarray(np.broadcast_to(bytes_, (*values.shape[:2], 3)))


def on_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay `colour` with opacity `alpha` (0-255, not premultiplied) on white."""
    weight = alpha.astype(np.uint16)
    return ((colour * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale values linearly to 0-255, by the range that their type, or else their largest value, tells.

    One factor for all pixels and channels keeps colours comparable between images of one camera; percentiles would not.

    Raises
    ------
    UnknownKind
        If there are negative or non-finite values, or values above 65535.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "uif":
        raise UnknownKind(f"pixels of type {values.dtype}; expected integers or real numbers")
    return np.rint(values * np.float32(255 / _full_scale(values))).astype(np.uint8)


def _full_scale(values: NDArray[Any]) -> int:
    """Return the value of white: 1 (float), or that of the smallest usual camera depth that holds the largest value."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 65535):  # also true for NaN
        raise UnknownKind(f"pixel values from {low:g} to {high:g}; expected 0-1, 0-255 or 0-65535: rescale the image")
    if values.dtype.kind == "f" and high <= 1:
        return 1
    whites = (int(2**bits - 1) for bits in CAMERA_BITS)
    return next(white for white in whites if high <= white)
