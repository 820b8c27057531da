"""The numbers stored in a label picture, whatever its format: one reader for exported files and for training labels.

A palette gives its indices, never its colours. Grey values are the stored samples, so that 2 and 4 bits are 0-3 and 0-15. What
is stored with white as 0 (TIFF's WhiteIsZero) is turned, as Pillow does up to 8 bits; beyond that programs disagree, and it is
refused. Grey saved as colour is read; real colours are refused, as which is which class is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC

from napari_sdmae.io.images.read import InvalidImageError, is_tiff, open_flat, png_depth, translate_decoder_errors
from napari_sdmae.io.images.tiff_claims import check_series, opened
from napari_sdmae.io.memory import read_whole

LABEL_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".gif"})
"""Ends of label pictures. JPEG is left out: it changes values."""
JPEGS = {COMPRESSION.JPEG, COMPRESSION.OJPEG, COMPRESSION.JPEG_LOSSY}
LOSSY = JPEGS | {COMPRESSION.APERIO_JP2000_YCBC, COMPRESSION.APERIO_JP2000_RGB}
FAX = {COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6}
"""Of 1 bit, which libtiff decodes and tifffile may not."""
COLOURED = (
    "the mask is a colour picture ({how}): save it with one value per pixel, as an indexed or grey PNG "
    "(0 background, 1 the first class, …)"
)
NAMED = 6
"""Most colours that a message lists."""
MOST_EXACT = 2**24
"""Up to here, whole numbers stored as 32-bit floats are exact."""

Pixels = NDArray[Any]


def read_label_pixels(path: Path) -> Pixels:
    """Return the stored numbers of a label picture, an unsigned or signed integer type or bool, (H, W).

    Raises
    ------
    InvalidImageError
        If it cannot be read, changes values, holds colours, several planes, or no whole numbers.
    """
    with translate_decoder_errors(path):
        return _tiff(path) if is_tiff(path) else _flat(path)


def label_pixels_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in px of a label picture from its header alone.

    Raises
    ------
    InvalidImageError
        If the header cannot be read, or shows several planes.
    """
    with translate_decoder_errors(path):
        if is_tiff(path):
            with opened(path) as file:
                return _size(_only_level(file))
        with open_flat(path) as image:
            return image.height, image.width


def plane_of(level: Any) -> Pixels:
    """Return the stored numbers of one level of a TIFF series as :func:`read_label_pixels` does; decoders' errors come through.

    Raises
    ------
    InvalidImageError
        As :func:`read_label_pixels`.
    """
    _size(level)
    check_series(level)
    page = level.keyframe
    if page.compression in LOSSY:
        raise InvalidImageError("the TIFF is compressed as JPEG, which changes the values of a mask: save it with LZW or deflate")
    values = level.asarray()
    axes = [axis for axis, length in zip(level.axes, level.shape, strict=True) if length > 1 or axis in "YX"]
    values = values.reshape([length for axis, length in zip(level.axes, level.shape, strict=True) if length > 1 or axis in "YX"])
    if len(axes) == 3:
        if page.photometric not in (PHOTOMETRIC.RGB, PHOTOMETRIC.MINISBLACK):
            raise InvalidImageError(COLOURED.format(how=page.photometric.name))
        return _one_channel(np.moveaxis(values, axes.index("S"), -1), page.photometric.name)
    return _whole(_black_as_zero(values, page))


def _tiff(path: Path) -> Pixels:
    with opened(path) as file:
        level = _only_level(file)
        return _flat(path) if level.keyframe.compression in FAX else plane_of(level)


def _only_level(file: tifffile.TiffFile) -> Any:
    """Return the largest level of a TIFF that holds one picture; smaller ones, as a thumbnail, may lie beside it."""
    levels = [series.levels[0] for series in file.series if {"Y", "X"} <= set(series.levels[0].axes)]
    if not levels:
        raise InvalidImageError("a TIFF without an image")
    largest = max(_area(level) for level in levels)
    found = [level for level in levels if _area(level) == largest]
    if len(found) > 1:
        raise InvalidImageError(f"{len(found)} pictures of one size in it: save the one with the labels")
    return found[0]


def _area(level: Any) -> int:
    return int(level.shape[level.axes.index("Y")]) * int(level.shape[level.axes.index("X")])


def _size(level: Any) -> tuple[int, int]:
    lengths = dict(zip(level.axes, level.shape, strict=True))
    others = {axis: length for axis, length in lengths.items() if axis not in "YXS" and length > 1}
    if others:
        planes = " × ".join(map(str, others.values()))
        raise InvalidImageError(f"{planes} planes in it (axes {level.axes}): labels are one plane; save the one that is meant")
    return int(lengths["Y"]), int(lengths["X"])


def _black_as_zero(values: Pixels, page: Any) -> Pixels:
    if page.photometric not in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.PALETTE, PHOTOMETRIC.MASK):
        raise InvalidImageError(COLOURED.format(how=page.photometric.name))
    if page.photometric != PHOTOMETRIC.MINISWHITE:
        return values
    if page.bitspersample > 8:
        raise InvalidImageError(
            f"{page.bitspersample} bits with white as 0 (WhiteIsZero), which programs read differently: save it with black as 0"
        )
    return ~values if values.dtype == bool else (2**page.bitspersample - 1 - values).astype(values.dtype)


def _flat(path: Path) -> Pixels:
    depth = png_depth(path)
    with open_flat(path) as image:
        if image.format == "JPEG":
            raise InvalidImageError("a JPEG changes the values of a mask: save masks as PNG or TIFF")
        if getattr(image, "n_frames", 1) > 1:
            raise InvalidImageError(f"{getattr(image, 'n_frames', 1)} pictures in it: save the one with the labels")
        # of 16 bits Pillow keeps 8 in colour pictures
        values = imagecodecs.png_decode(read_whole(path)) if depth == 16 else np.asarray(image)
        if values.ndim == 3:
            return _one_channel(values, image.mode)
        low = image.mode == "L" and depth in (2, 4)  # which Pillow spreads over 8 bits
        return _whole(values // (255 // (2**depth - 1)) if low else values)


def _one_channel(values: Pixels, how: str) -> Pixels:
    """Return the numbers in (H, W, channels) that are grey saved as colour, with or without full opacity behind it."""
    colours = values.shape[2] - (values.shape[2] in (2, 4))
    opaque = values.shape[2] == colours or bool((values[..., -1] == _most(values.dtype)).all())
    grey = values[..., 0]
    if opaque and all((values[..., channel] == grey).all() for channel in range(1, colours)):
        return _whole(grey)
    how = how if opaque else f"{how}, partly transparent"
    raise InvalidImageError(f"{COLOURED.format(how=how)}; it holds {_colours(values[..., :colours])}")


def _most(kind: np.dtype[Any]) -> float:
    return float(np.iinfo(kind).max) if kind.kind in "iu" else 1.0


def _colours(values: Pixels) -> str:
    """Return the colours of (H, W, channels) in words, the most frequent first."""
    found, counts = np.unique(values.reshape(-1, values.shape[2]), axis=0, return_counts=True)
    often = [tuple(found[index].tolist()) for index in np.argsort(-counts, kind="stable")[:NAMED]]
    return f"{len(found):,} colours: {', '.join(map(str, often))}{', …' if len(found) > NAMED else ''}"


def _whole(values: Pixels) -> Pixels:
    """Return whole numbers as integers of this machine's byte order."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.floor(values)).any() or np.abs(values).max(initial=0) > MOST_EXACT:
            raise InvalidImageError(f"the mask holds {values.dtype} numbers: save it with whole numbers, 8, 16 or 32 bits")
        return values.astype(np.int32)
    if values.dtype.kind not in "iub":
        raise InvalidImageError(f"the mask holds {values.dtype} numbers: save it with whole numbers, 8, 16 or 32 bits")
    return values.astype(values.dtype.newbyteorder("="), copy=False)
