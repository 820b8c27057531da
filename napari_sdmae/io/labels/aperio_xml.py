"""Outlines drawn in Aperio ImageScope (XML), as published with MoNuSeg: each region becomes one object.

Coordinates count from the corner of the first pixel, a pixel belongs to an outline if its centre lies inside, and a later
outline lies on top. MATLAB's ``poly2mask``, which many scripts for MoNuSeg use, counts the centre of the first pixel as 1, so
that its masks lie half a pixel to the left and above.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.images.read import InvalidImageError, translate_decoder_errors
from napari_sdmae.io.labels.draw_objects import area_of, large_first
from napari_sdmae.io.memory import read_whole
from napari_sdmae.labels.outlines import Ring, fill

SUFFIX = ".xml"


def read_outlines(path: Path) -> list[Ring]:
    """Return the outlines in the order of the file, each (N, 2) points x, y in px from the corner of the image, closed.

    Regions of fewer than three points enclose nothing and are left out.

    Raises
    ------
    InvalidImageError
        If the file is missing, damaged, or no annotation of ImageScope.
    """
    with translate_decoder_errors(path):
        root = ElementTree.fromstring(read_whole(path))
        if root.tag != "Annotations":
            raise InvalidImageError(f"XML with the root {root.tag}: expected Annotations, as ImageScope writes it")
        return [ring for region in root.iter("Region") if len(ring := _ring(region)) > 3]


def _ring(region: ElementTree.Element) -> Ring:
    points = [(float(vertex.attrib["X"]), float(vertex.attrib["Y"])) for vertex in region.iter("Vertex")]
    return np.array([*points, *points[:1]], float).reshape(-1, 2)


def draw_outlines(outlines: list[Ring], size: tuple[int, int]) -> NDArray[np.int32]:
    """Return object numbers, int32 (H, W) of `size`, from 1 in the order of `outlines`.

    Small outlines lie over large ones. A pixel belongs to an outline if its centre lies inside; what reaches beyond the
    image is cut off.

    Raises
    ------
    InvalidImageError
        If there are outlines and none lies in the image.
    """
    labels = np.zeros(size, np.int32)
    for index in large_first([area_of([[ring]]) for ring in outlines]):
        ring = outlines[index]
        first = np.floor(ring.min(axis=0)).astype(int).clip(0, size[::-1])
        last = np.ceil(ring.max(axis=0)).astype(int).clip(first, size[::-1])
        window = labels[first[1] : last[1], first[0] : last[0]]
        if window.size:
            window[fill([ring - first], window.shape)] = index + 1
    if outlines and not labels.any():
        raise InvalidImageError(
            f"no outline lies in the image of {size[1]} × {size[0]} px: they were drawn on another one, or a slide"
        )
    return labels
