"""What heads predict of pixels: on the right ones, at any scale, in blocks as in the whole."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from seeing_heads import dark_or_bright, head, many_discs, nuclei_rule, seeing

from napari_sdmae.inference.prediction.predict import predict
from napari_sdmae.io.images.blocks import empty, spans
from napari_sdmae.io.memory import TooLargeError
from napari_sdmae.models.heads.sliding_window import starts

RGB = NDArray[np.uint8]


@pytest.mark.parametrize("mpp", [0.5, 0.25, 0.33, 1.0, None])
def test_classes_lie_on_the_pixels_of_the_picture(mpp: float | None) -> None:
    picture = np.full((230, 310, 3), 240, np.uint8)
    picture[60:150, 100:220] = 20
    found = predict(seeing(head("segmentation", 2), dark_or_bright), picture, mpp=mpp)
    labels = found.label_map
    assert labels.labels.shape == (230, 310)
    assert [one.name for one in labels.classes] == ["kind 1"]  # value 0 is the background
    truth = np.zeros((230, 310), int)
    truth[60:150, 100:220] = 1
    wrong = labels.labels != truth
    if mpp in (0.5, None):
        assert not wrong.any()
    edge = ndimage.binary_dilation(truth, iterations=2) & ~ndimage.binary_erosion(truth, iterations=2)
    assert not wrong[~edge].any()
    assert found.seen_mpp == (None if mpp is None else pytest.approx(0.5, rel=0.01))
    assert len(found.warnings) == (mpp in (None, 1.0))  # enlarged twice it lacks detail


def test_half_pixels_at_double_scale_are_placed_exactly() -> None:
    """A step edge between whole model pixels comes back where it was, not shifted by half a pixel."""
    picture = np.full((128, 128, 3), 240, np.uint8)
    picture[:, 64:] = 20
    labels = predict(seeing(head("segmentation", 2), dark_or_bright), picture, mpp=0.25).label_map.labels
    np.testing.assert_array_equal(labels, np.repeat((np.arange(128) >= 64)[None], 128, 0))


def test_region_step_and_probabilities(skin: RGB) -> None:
    model = head("segmentation", 3)
    region = (37, 41, 200, 150)
    part = predict(model, skin, mpp=0.5, region=region, probabilities=True, source="skin.png")
    alone = predict(model, np.ascontiguousarray(skin[37:237, 41:191]), mpp=0.5, probabilities=True)
    np.testing.assert_array_equal(part.label_map.labels, alone.label_map.labels)
    assert (part.label_map.origin, part.label_map.step, part.label_map.mpp) == ((37.0, 41.0), 1, 0.5)
    assert part.label_map.source == "skin.png"
    assert part.probabilities is not None
    assert part.probabilities.dtype == np.float16
    np.testing.assert_allclose(part.probabilities.astype(float).sum(0), 1, atol=2e-3)
    np.testing.assert_array_equal(part.probabilities.astype(np.float32).argmax(0)[::7], part.label_map.labels[::7])
    coarse = predict(model, skin, mpp=0.5, region=region, step=4)
    assert coarse.label_map.labels.shape == (50, 38)
    assert coarse.label_map.label_mpp == 2.0
    table = part.label_map.measurements
    chosen = part.probabilities.astype(float).max(0)
    for value, share in zip(table["label"], table["probability"], strict=True):
        assert share == pytest.approx(chosen[part.label_map.labels == value].mean(), abs=1e-3)


@pytest.mark.parametrize("mpp", [0.5, 0.25])
def test_blocks_give_the_classes_of_the_whole(skin: RGB, mpp: float) -> None:
    """A vision transformer sees each window otherwise: only the same windows, blended alike, give the same numbers."""
    model = head("segmentation", 3)
    whole = predict(model, skin, mpp=mpp, probabilities=True)
    blocks = predict(model, skin, mpp=mpp, probabilities=True, core=70)
    assert whole.probabilities is not None
    assert blocks.probabilities is not None
    # a few roundings of the resized picture to the next of 256 grey values; without resizing, half floats to the last digit
    tolerance = 4e-3 if mpp != 0.5 else 5e-4
    assert np.ptp(whole.probabilities.astype(float), axis=(1, 2)).min() > 4 * tolerance, "else anything is alike"
    np.testing.assert_allclose(blocks.probabilities.astype(float), whole.probabilities.astype(float), atol=tolerance)
    differing = whole.label_map.labels != blocks.label_map.labels
    assert differing.mean() < (1e-3 if mpp != 0.5 else 1e-5)


def test_windows_of_blocks_are_those_of_the_whole() -> None:
    for length in (64, 65, 200, 777, 1500):
        places = starts(length, 64, 0.25)
        found = spans(length, 64, places, core=150, margin=20)
        assert [span.inner_start for span in found] == [0, *(span.inner_stop for span in found[:-1])]
        assert found[-1].inner_stop == length
        for span in found:
            assert {span.start + window for window in span.windows} <= set(places)
            near = [place for place in places if place < span.inner_stop + 20 and place + 64 > span.inner_start - 20]
            assert [span.start + window for window in span.windows] == near


def test_large_results_live_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(empty((10, 10), np.int32)) is np.ndarray
    monkeypatch.setattr("napari_sdmae.io.images.blocks.IN_MEMORY", 100)
    array = empty((10, 10), np.int32)
    assert isinstance(array, np.memmap)
    array[3, 4] = 5
    assert array.sum() == 5
    picture, truth = many_discs(200)
    found = predict(seeing(head("instances"), nuclei_rule), picture, mpp=0.5).label_map
    assert isinstance(found.labels, np.memmap)
    assert len(found.class_of) == truth.max()


def test_a_result_larger_than_the_disk_is_refused_before_anything_is_computed() -> None:
    with pytest.raises(TooLargeError, match=r"results for 256 × 2147483647 values need 2\.2 TB in .*: choose a region"):
        empty((256, 2**31 - 1), np.int32)
    with pytest.raises(TooLargeError):
        empty((2**32 - 1, 2**32 - 1), np.int32)  # more bytes than 64 bits count
