"""Pictures at the scale of a head, and its answers at the scale of the picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sdmae.inference.prediction.rescale import linear, nearest, rescale
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.notices import scale_notes

RGB = NDArray[np.uint8]


@pytest.mark.parametrize(("mpp", "told"), [(0.02, False), (0.5, False), (0.75, False), (0.76, True), (5.0, True)])
def test_only_what_is_enlarged_much_lacks_detail(mpp: float, told: bool) -> None:
    """A picture is brought to the scale of the head, 0.5 µm/px: reduced it shows what training showed, enlarged it is blurred."""
    _, notes = rescale(ArrayPicture(np.zeros((600, 600, 3), np.uint8), mpp), 0.5, 16)
    assert notes == (scale_notes(0.5, mpp) if told else [])
    assert bool(notes) == told


def test_a_part_is_resized_as_within_the_whole(skin: RGB) -> None:
    seen, _ = rescale(ArrayPicture(skin, 0.33), 0.5, 16)
    whole = seen.read(0, 0, seen.rows, seen.columns)
    part = seen.read(61, 47, 120, 99)
    assert np.abs(part.astype(int) - whole[61:181, 47:146]).max() <= 1


def test_sampling_meets_slow_numpy() -> None:
    random = np.random.default_rng(0)
    maps = random.random((2, 7, 9)).astype(np.float32)
    rows, columns = np.array([-0.4, 0.25, 3.5, 6.3]), np.array([0.0, 1.75, 8.4])
    found = linear(maps, rows, columns)
    labels = random.integers(0, 9, (7, 9)).astype(np.int32)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            r, c = min(max(row, 0), 6), min(max(column, 0), 8)
            r0, c0 = int(r), int(c)
            r1, c1 = min(r0 + 1, 6), min(c0 + 1, 8)
            a, b = r - r0, c - c0
            four = maps[:, r0, c0] * (1 - a) * (1 - b) + maps[:, r1, c0] * a * (1 - b)
            four += maps[:, r0, c1] * (1 - a) * b + maps[:, r1, c1] * a * b
            np.testing.assert_allclose(found[:, i, j], four, rtol=1e-5)
            assert nearest(labels, rows, columns)[i, j] == labels[min(max(int(np.floor(row + 0.5)), 0), 6), min(round(column), 8)]
