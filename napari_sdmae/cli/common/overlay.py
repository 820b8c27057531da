"""A picture with labels laid over it, to look at."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from napari_sdmae.io.images.blocks import strips
from napari_sdmae.io.images.pictures import Picture
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.typing import RGB

LARGEST = 4096
"""Longest side in px; larger pictures are shown smaller."""
STRENGTH = 0.3
"""Share of the class's colour inside; outlines are drawn in full."""
ROWS = 512


def overlay(label_map: LabelMap, picture: Picture) -> RGB:
    """Return the picture with outlines and tints in the colours of the classes, uint8 (rows, columns, 3).

    Parameters
    ----------
    label_map
        Labels of the whole `picture`.
    picture
        Read from top to bottom, a strip at a time.
    """
    factor = ceil(max(picture.height, picture.width) / LARGEST)
    rows, columns = (ceil(edge / factor) for edge in (picture.height, picture.width))
    colours = _colours(label_map)
    sheet = np.empty((rows, columns, 3), np.uint8)
    for some in strips(rows, ROWS):
        around = slice(max(some.start - 1, 0), min(some.stop + 1, rows))
        top, bottom = some.start * factor, min(some.stop * factor, picture.height)
        pixels = picture.read(top, 0, bottom - top, picture.width)
        small = Image.fromarray(np.ascontiguousarray(pixels)).resize((columns, some.stop - some.start), Image.Resampling.BOX)
        labels = _sampled(label_map, around, columns, factor)
        inner = slice(some.start - around.start, some.stop - around.start)
        edges = find_boundaries(labels, mode="inner")[inner]
        sheet[some] = _blended(np.asarray(small), labels[inner], edges, colours)
    return sheet


def _sampled(label_map: LabelMap, rows: slice, columns: int, factor: int) -> NDArray[np.int32]:
    """Return the label in the middle of each pixel shown."""
    places = [
        np.minimum(((index + 0.5) * factor / label_map.step).astype(np.intp), length - 1)
        for index, length in zip((np.arange(rows.start, rows.stop), np.arange(columns)), label_map.labels.shape, strict=True)
    ]
    return np.asarray(label_map.labels[places[0]][:, places[1]])


def _colours(label_map: LabelMap) -> RGB:
    """Return the colour of each label from 0."""
    highest = max([*label_map.class_of, *(one.value for one in label_map.classes), int(label_map.labels.max(initial=0))])
    return np.array([label_map.class_at(label).colour for label in range(highest + 1)], np.uint8)


def _blended(pixels: RGB, labels: NDArray[np.int32], edges: NDArray[np.bool_], colours: RGB) -> RGB:
    strength = np.where(edges, 1.0, np.where(labels > 0, STRENGTH, 0.0)).astype(np.float32)[..., None]
    blended: RGB = np.rint(pixels * (1 - strength) + colours[labels] * strength).astype(np.uint8)
    return blended
