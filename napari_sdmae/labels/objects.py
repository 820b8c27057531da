"""The objects of a label map one by one, each in its own small window: 50,000 nuclei never need 50,000 whole pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sdmae.labels.label_map import LabelMap

MOST_SLOTS = 20_000_000
"""Object numbers up to here are looked up directly (32 bytes each); larger ones are renumbered first."""


class Window(NamedTuple):
    """Where a label lies: the smallest rectangle around all its pixels."""

    label: int
    rows: slice
    columns: slice

    @property
    def place(self) -> tuple[slice, slice]:
        """Index of the window in the labels."""
        return self.rows, self.columns


def windows(labels: NDArray[np.int32]) -> Iterator[Window]:
    """Yield the window of each label above 0 that occurs in `labels` (rows, columns), in increasing order."""
    largest = int(labels.max(initial=0))
    names = np.arange(1, largest + 1) if largest <= MOST_SLOTS else np.unique(labels[labels > 0])
    numbered = labels if largest <= MOST_SLOTS else (np.searchsorted(names, labels) + 1) * (labels > 0)
    found = ndimage.find_objects(numbered, len(names))
    for label, place in zip(names.tolist(), found, strict=True):
        if place is not None:
            yield Window(label, *place)


def present(labels: NDArray[np.int32]) -> list[int]:
    """Return the labels above 0 that occur, in increasing order: one pass over the pixels, where sorting them takes seconds."""
    return [window.label for window in windows(labels)]


def without_those_in(labels: NDArray[np.int32], area: NDArray[np.bool_] | None) -> NDArray[np.int32]:
    """Return `labels` without the objects of which more than half lies in `area` (None: nowhere), both (rows, columns)."""
    if area is None:
        return labels
    sizes, inside = np.bincount(labels.ravel()), np.bincount(labels[area], minlength=int(labels.max(initial=0)) + 1)
    kept: NDArray[np.int32] = np.where((2 * inside <= sizes)[labels], labels, 0).astype(np.int32)
    return kept


class Extent(NamedTuple):
    """Size and middle of one label, in label pixels; integers of row and column are pixel centres."""

    label: int
    area: int
    row: float
    column: float


def extents(labels: NDArray[np.int32]) -> Iterator[Extent]:
    """Yield area and centroid of each label."""
    for window in windows(labels):
        rows, columns = np.nonzero(labels[window.place] == window.label)
        middle = float(rows.mean()) + window.rows.start, float(columns.mean()) + window.columns.start
        yield Extent(window.label, len(rows), *middle)


def check_labels(label_map: LabelMap) -> None:
    """Raise `ValueError` unless the labels are a picture of whole numbers from 0, and nuclei lie in their cells."""
    labels = label_map.labels
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels of shape {labels.shape} and type {labels.dtype}: expected whole numbers (rows, columns)")
    if labels.size and int(labels.min()) < 0:
        raise ValueError(f"a label of {int(labels.min())}: expected 0 (nothing) and numbers above")
    if label_map.nuclei is not None:
        _check_nuclei(labels, label_map.nuclei)


def _check_nuclei(labels: NDArray[np.int32], nuclei: NDArray[np.int32]) -> None:
    if nuclei.shape != labels.shape:
        raise ValueError(f"nuclei of shape {nuclei.shape} for cells of shape {labels.shape}: expected the same")
    for top in range(0, len(labels), 1024):
        band, cells = nuclei[top : top + 1024], labels[top : top + 1024]
        outside = (band != 0) & (band != cells)
        if outside.any():
            label = int(band[outside][0])
            raise ValueError(f"nucleus {label} reaches out of its cell: each nucleus must lie within the cell of its number")


def smallest_type(labels: NDArray[np.int32]) -> np.dtype[np.unsignedinteger]:
    """Return the smallest unsigned integer type that holds all labels."""
    kind: np.dtype[np.unsignedinteger] = np.dtype(np.min_scalar_type(int(labels.max(initial=0))))
    return kind
