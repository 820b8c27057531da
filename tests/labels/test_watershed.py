"""Targets of instances against a slow oracle, and objects out of maps."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.draw import disk, ellipse
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from napari_sdmae.labels import watershed as module
from napari_sdmae.labels.watershed import Separation, instance_targets, separate

Labels = NDArray[np.int32]
BOTH = pytest.mark.parametrize("how", ["distance", "boundary"])


def discs(*, radius: int, centres: list[tuple[int, int]], size: int = 80) -> Labels:
    labels = np.zeros((size, size), np.int32)
    for number, centre in enumerate(centres, 1):
        place = disk(centre, radius, shape=labels.shape)
        labels[place] = np.where(labels[place] == 0, number, labels[place])
    return labels


def overlaps(truth: Labels, found: Labels) -> NDArray[np.float64]:
    """Return intersection over union of each true object (row) with each found one (column)."""
    table = np.zeros((truth.max() + 1, found.max() + 1))
    np.add.at(table, (truth.ravel(), found.ravel()), 1)
    union = table.sum(1, keepdims=True) + table.sum(0) - table
    return (table / np.maximum(union, 1))[1:, 1:]


def slow_targets(instances: Labels, how: Separation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel of each object, the distance to every pixel outside of it."""
    separation = np.zeros(instances.shape, np.float32)
    for number in set(instances.ravel().tolist()) - {0}:
        inside, outside = np.argwhere(instances == number), np.argwhere(instances != number)
        far = {tuple(pixel): min(float(np.hypot(*(pixel - other))) for other in outside) for pixel in inside}
        most = max(far.values())
        for pixel, distance in far.items():
            separation[pixel] = distance / most if how == "distance" else distance <= min(2, most / 2)
    return (instances > 0).astype(np.float32), separation


def tissue_nuclei(tissue: Path) -> Labels:
    """Return dark blobs of a real tile as objects of real shape: cut where they touch, by their own watershed."""
    file = sorted((tissue / "tiles").rglob("*.jpg"))[0]
    stain = gaussian(rgb2hed(np.asarray(Image.open(file).convert("RGB")))[..., 0], 2)
    mask = stain > threshold_otsu(stain)
    far = gaussian(ndimage.distance_transform_edt(mask), 2)
    labels = watershed(-far, label(local_maxima(far) & mask), mask=mask)
    sizes = np.bincount(labels.ravel())
    labels[sizes[labels] < 30] = 0
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


@BOTH
def test_targets_equal_a_slow_oracle(how: Separation) -> None:
    """Touching objects, one cut by the border, one of a single pixel, one thin, one in two parts."""
    labels = discs(radius=5, centres=[(6, 6), (6, 15), (14, 10), (0, 26)], size=30)
    labels[25, 3] = 7
    labels[22, 8:20] = 9
    labels[26:29, 10:13] = labels[26:29, 20:23] = 12
    for ours, slow in zip(instance_targets(labels, how), slow_targets(labels, how), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, slow, atol=1e-6)


@BOTH
def test_every_object_keeps_a_middle_and_touching_ones_an_edge(how: Separation) -> None:
    labels = discs(radius=6, centres=[(20, 20), (20, 31)])
    separation = instance_targets(labels, how)[1]
    middle, contact = separation[20, 20], separation[20, 25:27].mean()
    assert (middle, contact) == ((1, pytest.approx(1 / separation_radius(labels), abs=0.1)) if how == "distance" else (0, 1))


def separation_radius(labels: Labels) -> float:
    return float(ndimage.distance_transform_edt(labels == 1).max())


def test_an_object_that_fills_the_picture_has_no_edge() -> None:
    whole = np.ones((5, 5), np.int32)
    assert (instance_targets(whole, "distance")[1] == 1).all()
    assert (instance_targets(whole, "boundary")[1] == 0).all()
    assert not instance_targets(0 * whole, "distance")[1].any()


@BOTH
def test_touching_discs_come_apart(how: Separation) -> None:
    labels = discs(radius=9, centres=[(20, 20), (20, 36), (34, 28), (60, 60)])
    found, types = separate(*instance_targets(labels, how), how=how, smallest_px=5)
    assert found.dtype == np.int32
    assert found.max() == 4
    assert types == {1: 0, 2: 0, 3: 0, 4: 0}
    assert overlaps(labels, found).max(1).min() > 0.95


@BOTH
def test_nuclei_of_real_shape_come_apart_also_when_predicted_blurred_and_noisy(how: Separation, tissue: Path) -> None:
    truth = tissue_nuclei(tissue)
    assert truth.max() > 30
    foreground, separation = instance_targets(truth, how)
    exact = overlaps(truth, separate(foreground, separation, how=how, smallest_px=5)[0])
    assert (exact.max(1) > 0.5).mean() > 0.97
    random = np.random.default_rng(0)
    blurred = [
        np.clip(gaussian(one, 1) + random.normal(0, 0.08, one.shape), 0, 1).astype(np.float32) for one in (foreground, separation)
    ]
    found, _ = separate(*blurred, how=how, smallest_px=15)
    assert (overlaps(truth, found).max(1) > 0.5).mean() > 0.85
    assert found.max() < 1.2 * truth.max()


@BOTH
def test_one_long_nucleus_with_two_equal_summits_stays_whole(how: Separation) -> None:
    labels = np.zeros((60, 90), np.int32)
    labels[ellipse(30, 45, 9, 30)] = 1
    foreground, separation = instance_targets(labels, how)
    if how == "distance":
        separation[:, 40:50] *= 0.93  # a shallow dip, less than a valley
    found, _ = separate(foreground, separation, how=how, smallest_px=5)
    assert found.max() == 1


def test_low_ground_is_one_object_and_what_is_small_is_left_out() -> None:
    foreground = np.zeros((40, 40), np.float32)
    foreground[5:15, 5:15] = foreground[30:32, 30:32] = 0.9
    found, _ = separate(foreground, foreground * 0.05, how="distance", smallest_px=5)
    assert np.unique(found).tolist() == [0, 1]
    assert (found[5:15, 5:15] == 1).all()
    assert separate(foreground, foreground, how="distance", smallest_px=0)[0].max() == 2


def test_nothing_gives_nothing() -> None:
    empty = np.zeros((20, 30), np.float32)
    found, types = separate(empty, empty, np.zeros((2, 20, 30), np.float32), how="distance", smallest_px=0)
    assert not found.any()
    assert found.shape == (20, 30)
    assert types == {}


def test_the_type_is_the_most_probable_over_the_object() -> None:
    labels = discs(radius=8, centres=[(20, 20), (50, 50)])
    types = np.full((3, 80, 80), 0.2, np.float32)
    types[1][labels == 1] = 0.5
    types[2, 50:54, 50:54] = 1.0  # few sure pixels
    types[0][labels == 2] = 0.45
    found, chosen = separate(*instance_targets(labels, "distance"), types, how="distance", smallest_px=5)
    assert {int(found[20, 20]): 1, int(found[50, 50]): 0} == chosen


def test_a_field_with_many_nuclei_is_separated_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not object by object: the whole field takes one watershed."""
    random = np.random.default_rng(0)
    labels = np.zeros((1024, 1024), np.int32)
    for number in range(1, 1301):
        place = ellipse(
            *random.integers(0, 1024, 2), *random.uniform(6, 14, 2), shape=labels.shape, rotation=random.uniform(0, 3)
        )
        if not labels[place].any():
            labels[place] = number
    count = len(np.unique(labels)) - 1
    passes = Mock(wraps=module.watershed)
    monkeypatch.setattr(module, "watershed", passes)
    found, _ = separate(*instance_targets(labels, "distance"), how="distance", smallest_px=5)
    assert found.max() == count > 500
    assert passes.call_count == 1
