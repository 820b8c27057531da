"""Boxes that heads find."""

from __future__ import annotations

import numpy as np
import pytest
from seeing_heads import boxes_rule, head, seeing

from napari_sdmae.inference.prediction.predict import predict


@pytest.mark.parametrize("mpp", [0.5, 0.25])
def test_boxes_are_found_once_across_windows(mpp: float) -> None:
    random = np.random.default_rng(3)
    picture, truth = np.full((300, 280, 3), 240, np.uint8), []
    for row in range(8, 260, 32):
        for column in range(10, 250, 32):
            top, left = row + int(random.integers(0, 8)), column + int(random.integers(0, 8))
            picture[top : top + 14, left : left + 10] = 10
            truth.append((left, top, left + 10, top + 14))
    model = seeing(head("detection"), boxes_rule)
    size = int(0.5 / mpp)
    large = picture.repeat(size, 0).repeat(size, 1)
    region = (4 * size, 2 * size, 290 * size, 276 * size)
    found = predict(model, large, mpp=mpp, region=region)
    corners = np.array([(box.left, box.top, box.right, box.bottom) for box in found.boxes]) / size
    assert len(corners) == len(truth)  # neither twice nor missing, though windows of 64 px cut most of them
    order, expected = np.lexsort(corners.T), np.array(truth)[np.lexsort(np.array(truth).T)]
    np.testing.assert_allclose(corners[order], expected, atol=0.01)
    labels = found.label_map
    for number, box in enumerate(found.boxes, 1):  # boxes count in px of the source, labels in those of the region
        rows, columns = np.nonzero(labels.labels == number)
        assert (rows.min() + region[0], columns.min() + region[1]) == (box.top, box.left)
    np.testing.assert_allclose(labels.measurements["probability"], 0.9)


def test_boxes_of_what_is_only_reflected_are_none() -> None:
    """A picture of 50 rows is reflected up to 64: the mirror image of what lies near its border is no object."""
    picture = np.full((50, 150, 3), 240, np.uint8)
    picture[41:48, 20:30] = picture[10:24, 70:80] = picture[30:50, 130:140] = 10
    model = seeing(head("detection"), boxes_rule)
    boxes = predict(model, picture, mpp=0.5).boxes
    edges = [(box.left, box.top, box.right, box.bottom) for box in boxes]
    assert edges == [(70, 10, 80, 24), (130, 30, 140, 50), (20, 41, 30, 48)]
