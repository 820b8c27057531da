"""Label images whose values mean classes or objects, kept as they are stored; outlines and annotations drawn as such."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.data.labelled.annotations import Annotations, LabelSource
from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.io.labels import aperio_xml
from napari_sdmae.io.labels.pixels import LABEL_SUFFIXES, label_pixels_size, read_label_pixels

__all__ = ["LABEL_SUFFIXES", "LabelSource", "count", "is_outlines", "label_size", "read_labels", "value_counts"]

Values = NDArray[np.int32]


def is_outlines(source: LabelSource) -> bool:
    """Return whether labels are outlines, which have no size of their own."""
    return isinstance(source, Annotations) or source.suffix.lower() == aperio_xml.SUFFIX


def outline_count(source: LabelSource) -> int:
    """Return how many outlines there are."""
    return source.count() if isinstance(source, Annotations) else len(aperio_xml.read_outlines(source))


def read_labels(source: LabelSource, size: tuple[int, int] | None = None) -> Values:
    """Return the values of a label image, int32 (H, W); an indexed palette keeps its indices, outlines are numbered from 1.

    Parameters
    ----------
    size
        (height, width) in px of the image; outlines are drawn into it, label images have a size of their own.

    Raises
    ------
    InvalidImageError
        If it cannot be read, has several channels, or no whole numbers from 0.
    """
    if is_outlines(source) and size is None:
        raise ValueError(f"{source.name} holds outlines: give the size of its image")
    if isinstance(source, Annotations):
        assert size is not None
        return source.draw(size)
    if size is not None and is_outlines(source):
        return aperio_xml.draw_outlines(aperio_xml.read_outlines(source), size)
    values = read_label_pixels(source)
    if values.size and (int(values.min()) < 0 or int(values.max()) > np.iinfo(np.int32).max):
        raise InvalidImageError(f"the mask holds values from {values.min()} to {values.max()}: expected 0 to 2147483647")
    return values.astype(np.int32)


def label_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in px of a label image from its header alone; see :func:`label_pixels_size`."""
    return label_pixels_size(path)


def value_counts(source: LabelSource, size: tuple[int, int] | None = None) -> tuple[tuple[int, int], ...]:
    """Return the values in :func:`read_labels` and how many pixels have each; remembered while the file does not change."""
    status = source.stat()
    return _value_counts(source, size if is_outlines(source) else None, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=200_000)
def _value_counts(source: LabelSource, size: tuple[int, int] | None, length: int, changed: int) -> tuple[tuple[int, int], ...]:
    values, counts = count(read_labels(source, size))
    return tuple(zip(values.tolist(), counts.tolist(), strict=True))


def count(labels: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values in `labels`, ascending, and how many pixels have each."""
    if labels.size and labels.min() >= 0 and labels.max() < 1_000_000:  # several times faster than sorting
        counts = np.bincount(labels.reshape(-1))
        values = np.flatnonzero(counts)
        return values, counts[values]
    found, counts = np.unique(labels, return_counts=True)
    return found.astype(np.int64), counts.astype(np.int64)
