"""TIFF, OME-TIFF and pyramids: the largest level as 8-bit RGB, whole or in bands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from napari_sdmae.io.intensity import UnknownKind, as_rgb8, on_white, to_uint8

__all__ = ["UnknownKind", "bands", "read", "readable_in_bands", "size"]

_JPEG = {COMPRESSION.JPEG, COMPRESSION.OJPEG, COMPRESSION.APERIO_JP2000_YCBC, COMPRESSION.APERIO_JP2000_RGB}
"""Compressions whose YCbCr comes out of tifffile as RGB."""


def size(path: Path) -> tuple[int, int]:
    """Return (height, width) in px of the largest level, without decoding."""
    with tifffile.TiffFile(path) as file:
        level = _largest(file)
        lengths = dict(zip(level.axes, level.shape, strict=True))
        return lengths["Y"], lengths["X"]


def read(path: Path) -> NDArray[np.uint8]:
    """Decode the largest level; of a stack in depth or time, or of several pages, the first plane. uint8 RGB (H, W, 3).

    Raises
    ------
    UnknownKind
        If the channels or colours cannot be shown as RGB.
    """
    with tifffile.TiffFile(path) as file:
        level = _largest(file)
        page = level.keyframe
        _check_colours(page)
        if dict(zip(level.axes, level.shape, strict=True)).get("C", 1) > 1 and len(level.pages) > 1:
            return _colours(_plane(level.asarray(), level.axes), page)
        return _colours(_plane(level.pages[0].asarray(), level.pages[0].axes), page)


def readable_in_bands(path: Path) -> bool:
    """Return whether :func:`bands` can read the file: one 8-bit page, channels interleaved, in strips or tiles."""
    with tifffile.TiffFile(path) as file:
        page = _largest(file).keyframe
        return len(_largest(file).pages) == 1 and page.dtype == np.uint8 and page.axes in ("YXS", "YX")


def bands(path: Path, rows: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the largest level in bands of `rows` rows, decoding no more than the strips or tiles under one band.

    Parameters
    ----------
    path
        A TIFF for which :func:`readable_in_bands` is true.
    rows
        Height of a band; the last one may be lower.
    """
    with tifffile.TiffFile(path) as file:
        page = _largest(file).keyframe
        _check_colours(page)
        waiting = np.empty((0, page.imagewidth, page.samplesperpixel), np.uint8)
        for strip in _rows_of_segments(page):
            waiting = np.concatenate([waiting, strip])
            while len(waiting) >= rows:
                yield _colours(waiting[:rows], page)
                waiting = waiting[rows:]
        if len(waiting):
            yield _colours(waiting, page)


def _rows_of_segments(page: Any) -> Iterator[NDArray[np.uint8]]:
    """Yield (segment height, W, samples): all strips or tiles that start in the same row, joined."""
    top, strip = 0, _empty_strip(page, 0)
    for values, index, shape in page.segments(maxworkers=1):
        row, column = index[2], index[3]
        if row != top:
            yield strip
            top, strip = row, _empty_strip(page, row)
        if values is not None:
            height, width = shape[1], shape[2]
            part = strip[:height, column : column + width]
            part[...] = values[0, : part.shape[0], : part.shape[1]]
    yield strip


def _empty_strip(page: Any, top: int) -> NDArray[np.uint8]:
    height = min(page.tilelength if page.is_tiled else page.rowsperstrip, page.imagelength - top)
    return np.zeros((height, page.imagewidth, page.samplesperpixel), np.uint8)


def _largest(file: tifffile.TiffFile) -> Any:
    """Return the level with the most pixels: label and macro images of a slide are smaller than its first level."""
    levels = [level for series in file.series for level in series.levels if {"Y", "X"} <= set(level.axes)]
    if not levels:
        raise UnknownKind("a TIFF without an image")
    return max(levels, key=lambda level: level.shape[level.axes.index("Y")] * level.shape[level.axes.index("X")])


def _plane(values: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return (H, W, channels): channels last, the first plane of every other axis."""
    channel = "S" if "S" in axes else "C" if "C" in axes else ""
    wanted = "YX" + channel
    first = tuple(slice(None) if axis in wanted else 0 for axis in axes)
    left = [axis for axis in axes if axis in wanted]
    plane = values[first].transpose([left.index(axis) for axis in wanted])
    if channel == "C" and plane.shape[-1] not in (1, 3):
        raise UnknownKind(f"{plane.shape[-1]} channels; expected 1 (grey) or 3 (red, green, blue)")
    return plane if channel else plane[..., None]


def _check_colours(page: Any) -> None:
    known = {PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE, PHOTOMETRIC.SEPARATED}
    decoded = page.photometric == PHOTOMETRIC.YCBCR and page.compression in _JPEG
    if page.photometric not in known and not decoded:
        name = getattr(page.photometric, "name", page.photometric)
        raise UnknownKind(f"colours stored as {name}; expected grey, RGB, palette or CMYK: save it as RGB")


def _colours(values: NDArray[Any], page: Any) -> NDArray[np.uint8]:
    """Turn stored samples (H, W, samples) of `page` into uint8 RGB (H, W, 3)."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        table = (page.colormap >> 8).astype(np.uint8).T
        return np.ascontiguousarray(table[values[..., 0]])
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return np.asarray(Image.fromarray(np.ascontiguousarray(to_uint8(values[..., :4])), "CMYK").convert("RGB"))
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        return np.asarray(255 - as_rgb8(values[..., :1]))
    return _without_extra_samples(values, page)


def _without_extra_samples(values: NDArray[Any], page: Any) -> NDArray[np.uint8]:
    """Lay transparency on white; drop samples beyond grey or RGB that are no transparency."""
    kinds = page.extrasamples
    colours = values.shape[-1] - (len(kinds) if values.shape[-1] > len(kinds) else 0)
    if not kinds or kinds[0] == EXTRASAMPLE.UNSPECIFIED:
        return as_rgb8(values[..., :colours])
    both = to_uint8(values[..., : colours + 1])
    colour, alpha = both[..., :-1], both[..., -1:]
    if kinds[0] == EXTRASAMPLE.ASSOCALPHA:  # premultiplied: white only fills up what is missing
        return as_rgb8(np.minimum(colour.astype(np.uint16) + (255 - alpha), 255).astype(np.uint8))
    return as_rgb8(on_white(colour, alpha))
