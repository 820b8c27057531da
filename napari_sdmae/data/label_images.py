"""Label images: PNG, BMP and TIFF whose values mean classes or objects, kept as they are stored; outlines drawn as objects."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.io import aperio_xml
from napari_sdmae.io.images import UnusableImage, image_size, is_tiff, plain_reasons
from napari_sdmae.io.tiff_claims import opened, read_values

LABEL_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp"})
"""JPEG is left out: it changes values."""
SINGLE = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
"""Pillow's modes with one value per pixel; P is a palette, whose indices are the values."""
COLOURED = (
    "the mask is a colour picture ({how}): save it with one value per pixel, as an indexed or grey PNG "
    "(0 background, 1 the first class, …)"
)

Values = NDArray[np.int32]


def is_outlines(path: Path) -> bool:
    """Return whether a file of labels holds outlines, which have no size of their own."""
    return path.suffix.lower() == aperio_xml.SUFFIX


def read_labels(path: Path, size: tuple[int, int] | None = None) -> Values:
    """Return the values of a label image, int32 (H, W); an indexed palette keeps its indices, outlines are numbered from 1.

    Parameters
    ----------
    size
        (height, width) in px of the image; outlines are drawn into it, label images have a size of their own.

    Raises
    ------
    UnusableImage
        If it cannot be read, has several channels, or no whole numbers from 0.
    """
    if is_outlines(path):
        if size is None:
            raise ValueError(f"{path.name} holds outlines: give the size of its image")
        return aperio_xml.draw_outlines(aperio_xml.read_outlines(path), size)
    with plain_reasons(path):
        values = np.squeeze(read_values(path)) if is_tiff(path) else _read_flat(path)
        if values.ndim != 2:
            raise UnusableImage(COLOURED.format(how=" × ".join(map(str, values.shape))))
        if values.dtype == bool:
            return values.astype(np.int32)
        if not np.issubdtype(values.dtype, np.integer):
            raise UnusableImage(f"the mask holds {values.dtype} numbers: save it with whole numbers, 8, 16 or 32 bits")
        if values.size and (values.min() < 0 or values.max() > np.iinfo(np.int32).max):
            raise UnusableImage(f"the mask holds values from {values.min()} to {values.max()}: expected 0 to 2147483647")
        return values.astype(np.int32)


def label_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in px of a label image from its header alone.

    Raises
    ------
    UnusableImage
        If the header cannot be read, or shows several channels.
    """
    with plain_reasons(path):
        if is_tiff(path):
            with opened(path) as file:
                shape = tuple(length for length in file.series[0].shape if length > 1 or len(file.series[0].shape) == 2)
                if len(shape) != 2:
                    raise UnusableImage(COLOURED.format(how=" × ".join(map(str, shape))))
                return int(shape[0]), int(shape[1])
        with Image.open(path) as image:
            _check_mode(image)
        return image_size(path)


def value_counts(path: Path, size: tuple[int, int] | None = None) -> tuple[tuple[int, int], ...]:
    """Return the values in :func:`read_labels` and how many pixels have each; remembered while the file does not change."""
    status = path.stat()
    return _value_counts(path, size if is_outlines(path) else None, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=200_000)
def _value_counts(path: Path, size: tuple[int, int] | None, length: int, changed: int) -> tuple[tuple[int, int], ...]:
    values, counts = count(read_labels(path, size))
    return tuple(zip(values.tolist(), counts.tolist(), strict=True))


def count(labels: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values in `labels`, ascending, and how many pixels have each."""
    if labels.size and labels.max() < 1_000_000:  # several times faster than sorting
        counts = np.bincount(labels.reshape(-1))
        values = np.flatnonzero(counts)
        return values, counts[values]
    found, counts = np.unique(labels, return_counts=True)
    return found.astype(np.int64), counts.astype(np.int64)


def _read_flat(path: Path) -> NDArray[np.generic]:
    with Image.open(path) as image:
        _check_mode(image)
        return np.asarray(image)


def _check_mode(image: Image.Image) -> None:
    if image.format == "JPEG":
        raise UnusableImage("a JPEG changes the values of a mask: save masks as PNG or TIFF")
    if image.mode not in SINGLE:
        raise UnusableImage(COLOURED.format(how=image.mode))
