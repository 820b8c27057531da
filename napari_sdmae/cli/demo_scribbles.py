"""The picture of the demo's strokes: shipped tissue segmented from a few of them, as the dock Scribbles does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.cli.common.output import save_png
from napari_sdmae.cli.common.overlay import overlay
from napari_sdmae.labels.label_map import LabelClass, LabelMap

CLASSES = (
    LabelClass(value=1, name="Gland", colour=(255, 214, 0)),
    LabelClass(value=2, name="Stroma", colour=(0, 114, 255)),
    LabelClass(value=3, name="Glass", colour=(0, 200, 120)),
)
STROKES = {1: ((22, 304), (284, 169), (304, 464)), 2: ((174, 344), (74, 174), (384, 384)), 3: ((234, 214), (214, 479))}
"""Where each stroke of a class begins, (row, column) in pixels of :data:`napari_sdmae.cli.demo.REGION` of the endometrium."""
LENGTH = 28
"""Columns that a stroke crosses; it falls by one row every two columns."""
BRUSH = 4
"""Half of a stroke's thickness in pixels."""


def scribble_picture(model: str, image: Path, region: tuple[int, int, int, int], target: Path) -> None:
    """Segment a region from the strokes and write it as PNG, the strokes in full colour on the overlay.

    Parameters
    ----------
    model
        Any model with an encoder.
    image, region
        The picture, and the (row, column, height, width) of it that the strokes were painted on.
    target
        The file to write; must not exist.
    """
    from napari_sdmae.inference.scribbles.classifier import blend, classifier, encode_windows, sample
    from napari_sdmae.io.checkpoints.load import load_encoder
    from napari_sdmae.io.images.pictures import open_picture, read_field

    painted = paint(region[2:])
    positions, values, strokes = samples_of(painted)
    tokens = encode_windows(load_encoder(model), read_field(open_picture(image, region)))
    classify, _ = classifier(sample(tokens, positions, values, strokes), sorted(STROKES), "linear")
    labels = np.array(sorted(STROKES), np.int32)[blend(tokens, classify).argmax(0)]
    sheet = overlay(LabelMap(labels, CLASSES), open_picture(image, region))
    for one in CLASSES:
        sheet[painted // 100 == one.value] = one.colour
    target.parent.mkdir(parents=True, exist_ok=True)
    save_png(target, sheet)


def paint(shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return 100 · class + number of the stroke for each painted pixel of a field of `shape`, 0 elsewhere."""
    field = np.zeros(shape, np.int64)
    for value, starts in STROKES.items():
        for number, (row, column) in enumerate(starts):
            for along in range(LENGTH):
                top, left = row + along // 2 - BRUSH, column + along - BRUSH
                field[top : top + 2 * BRUSH, left : left + 2 * BRUSH] = 100 * value + number
    return field


def samples_of(painted: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, column), class and stroke of each painted pixel."""
    marks = painted[painted > 0]
    return np.argwhere(painted > 0).astype(np.float32), marks // 100, marks
