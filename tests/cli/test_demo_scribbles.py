"""The strokes of the demo: where they lie, and that the shipped model makes a map of them."""

from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from napari_sdmae.cli.common.overlay import STRENGTH
from napari_sdmae.cli.demo import NUCLEI, REGION
from napari_sdmae.cli.demo_scribbles import CLASSES, STROKES, paint, samples_of, scribble_picture
from napari_sdmae.io.model_info.info import default_model


def test_every_stroke_is_painted_whole_and_none_covers_another() -> None:
    painted = paint((512, 512))
    marks, sizes = np.unique(painted[painted > 0], return_counts=True)
    assert list(marks) == [100 * value + number for value, starts in STROKES.items() for number in range(len(starts))]
    assert len(set(sizes)) == 1
    positions, values, strokes = samples_of(painted)
    assert len(positions) == len(values) == len(strokes) == sizes.sum()
    assert {int(mark) // 100 for mark in strokes} == set(values) == {one.value for one in CLASSES}


def test_glass_is_found_where_the_picture_is_bright(tmp_path: Path) -> None:
    model, image = default_model(), Path(str(resources.files("napari_sdmae.resources"))) / "tissue" / NUCLEI
    assert model is not None
    scribble_picture(model, image, REGION, tmp_path / "new" / "scribbles.png")
    drawn = np.asarray(Image.open(tmp_path / "new" / "scribbles.png")).astype(float)
    row, column, height, width = REGION
    seen = np.asarray(Image.open(image).convert("RGB")).astype(float)[row : row + height, column : column + width]
    colours = (drawn - (1 - STRENGTH) * seen) / STRENGTH  # the overlay's tint taken off again
    nearest = np.argmin([np.abs(colours - one.colour).sum(-1) for one in CLASSES], 0)
    glass, bright = nearest == [one.name for one in CLASSES].index("Glass"), seen.min(-1) > 215
    assert glass[bright].mean() > 0.6
    assert glass[~bright].mean() < 0.1
