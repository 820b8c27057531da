"""Contact sheets of labels over tissue."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.labels.label_map import PALETTE, LabelClass
from napari_sdmae.training.loop.sheet import sheet
from napari_sdmae.typing import RGB, Labels

OVERLAY = 0.45
"""Opacity of labels over the tissue."""
FRAME = 6
"""Width in px of the coloured frame that shows the class of a whole tile."""


def contact_sheet(arrays: Mapping[str, NDArray[np.generic]], classes: tuple[LabelClass, ...], *, objects: bool) -> bytes:
    """Return a PNG, one row per image: input, truth, prediction.

    Parameters
    ----------
    arrays
        ``input`` uint8 (N, S, S, 3); ``truth`` and ``prediction`` int32 (N, S, S), or (N,) of whole tiles.
    classes
        Give the colours of class values; value 0 and what is no class stay as the tissue.
    objects
        The labels are object numbers: each has the next colour of the palette.
    """
    images = arrays["input"].astype(np.uint8)
    columns = [images, *(_labelled(images, arrays[name].astype(np.int32), classes, objects) for name in ("truth", "prediction"))]
    return sheet(columns)


def outlines(boxes: NDArray[np.floating], values: NDArray[np.integer], shape: tuple[int, int]) -> Labels:
    """Return the outlines of boxes (N, 4: left, upper, right, lower edge in px) in their class values.

    They are one pixel wide; int32 (H, W), 0 elsewhere.
    """
    drawn = np.zeros(shape, np.int32)
    edges = np.rint(boxes).astype(int).clip(0, np.array([shape[1], shape[0]] * 2) - 1)
    for (left, top, right, bottom), value in zip(edges, values, strict=True):
        drawn[top : bottom + 1, [left, right]] = value
        drawn[[top, bottom], left : right + 1] = value
    return drawn


def _labelled(images: RGB, labels: Labels, classes: tuple[LabelClass, ...], objects: bool) -> RGB:
    """Return images (N, S, S, 3) with labels over them, or with a frame in the colour of the whole tile's class."""
    whole = labels.ndim == 1
    if whole:
        labels = np.broadcast_to(labels[:, None, None], images.shape[:3])
    colours, painted = np.zeros((*labels.shape, 3), np.float32), np.zeros(labels.shape, bool)
    for value, colour in _colours(labels, classes, objects).items():
        here = labels == value
        colours[here], painted[here] = colour, True
    if whole:
        painted = painted.copy()
        painted[:, FRAME:-FRAME, FRAME:-FRAME] = False
    share = np.where(painted, 1.0 if whole else OVERLAY, 0.0)[..., None].astype(np.float32)
    mixed: RGB = np.rint(images * (1 - share) + colours * share).astype(np.uint8)
    return mixed


def _colours(labels: Labels, classes: tuple[LabelClass, ...], objects: bool) -> dict[int, tuple[int, int, int]]:
    if objects:
        return {int(value): PALETTE[int(value) % len(PALETTE)] for value in np.unique(labels) if value > 0}
    whole_tiles = labels.strides[-1] == 0
    return {one.value: one.colour for one in classes if one.value > 0 or whole_tiles}
