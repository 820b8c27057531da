"""Objects of a block: on the pixels of the picture, with their probabilities, joined to those of other blocks."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import expand_labels

from napari_sdmae.inference.prediction.rescale import linear, nearest
from napari_sdmae.io.images.blocks import empty, strips
from napari_sdmae.typing import Floats, Labels

ROWS = 1024
"""Rows that are worked on at once."""


def on_picture(
    labels: Labels, foreground: Floats, rows: NDArray[np.float64], columns: NDArray[np.float64], inside: float
) -> Labels:
    """Return objects separated at the scale of the model, with outlines on the pixels of the picture (docs/decisions/0097).

    Which object a pixel belongs to is decided at the scale of the model, where the head learned to separate; where an object
    ends, by the foreground probability between the pixels of the model, so that outlines are no stairs.

    Parameters
    ----------
    labels, foreground
        (h, w) at the scale of the model, the foreground in [0, 1].
    rows, columns
        Positions of the label pixels in pixels of the model.
    inside
        Probability from which a pixel belongs to an object.
    """
    near = nearest(labels, rows, columns)
    finer = (rows[1] - rows[0] if len(rows) > 1 else 1.0) < 0.99
    if not finer:
        return near
    belongs = linear(foreground[None], rows, columns)[0] > inside
    grown = expand_labels(near, distance=ceil(1 / (rows[1] - rows[0])))
    return np.where(belongs, grown, 0).astype(np.int32)


def centres(labels: Labels, count: int) -> NDArray[np.float64]:
    """Return the (row, column) of the centre of mass of objects 1 to `count`, (count, 2)."""
    flat = labels.ravel()
    at = np.flatnonzero(flat)
    numbers = flat[at]
    sizes = np.maximum(np.bincount(numbers, minlength=count + 1)[1:], 1)
    row, column = np.divmod(at, labels.shape[1])
    sums = [np.bincount(numbers, weights=position, minlength=count + 1)[1:] for position in (row, column)]
    return np.stack(sums, 1) / sizes[:, None]


def means(labels: Labels, maps: Floats, count: int) -> Floats:
    """Return the mean of each of the maps (C, h, w) over the pixels of objects 1 to `count`: (count, C)."""
    flat = labels.ravel()
    at = np.flatnonzero(flat)
    numbers = flat[at]
    sizes = np.maximum(np.bincount(numbers, minlength=count + 1)[1:], 1)
    columns = [np.bincount(numbers, weights=single.ravel()[at], minlength=count + 1)[1:] / sizes for single in maps]
    return np.stack(columns, 1).astype(np.float32)


def reading_order(labels: Labels) -> NDArray[np.int32]:
    """Give the objects of `labels`, in place, numbers from 1 by their first pixel from the upper left; return the old ones.

    So numbers depend on the picture alone, not on the blocks it was done in; numbers without a pixel are dropped.
    """
    highest = max((int(labels[rows].max(initial=0)) for rows in strips(len(labels), ROWS)), default=0)
    first = np.full(highest + 1, labels.size, np.int64)
    for rows in reversed(list(strips(len(labels), ROWS))):
        flat = labels[rows].ravel()
        at = np.flatnonzero(flat)[::-1]  # of several assignments to one place the last counts: the first pixel
        first[flat[at]] = at + rows.start * labels.shape[1]
    first[0] = labels.size
    order = np.argsort(first, kind="stable")[: int((first < labels.size).sum())].astype(np.int32)
    new = np.zeros(highest + 1, np.int32)
    new[order] = np.arange(1, len(order) + 1)
    for rows in strips(len(labels), ROWS):
        labels[rows] = new[labels[rows]]
    return order


def grow(nuclei: Labels, distance: float) -> Labels:
    """Return cells: nuclei grown by `distance` px, none into another; in strips, so that memory stays bounded."""
    cells: Labels = empty(nuclei.shape, np.int32)
    reach = ceil(distance) + 1
    for rows in strips(len(nuclei), ROWS):
        above = max(0, rows.start - reach)
        grown = expand_labels(np.asarray(nuclei[above : rows.stop + reach]), distance=distance)
        cells[rows] = grown[rows.start - above : rows.stop - above]
    return cells


def renamed(values: Mapping[int, int], order: NDArray[np.int32]) -> dict[int, int]:
    """Return `values` of the old numbers under the new ones, `order` being what :func:`reading_order` returned."""
    return {new: values[int(old)] for new, old in enumerate(order, 1)}
