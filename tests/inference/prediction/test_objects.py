"""Objects that heads find: whole, apart, with places, types and measurements."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from seeing_heads import discs, head, many_discs, nuclei_rule, seeing
from skimage.draw import disk
from torch import Tensor

from napari_sdmae.inference.prediction.objects import grow, reading_order
from napari_sdmae.inference.prediction.predict import predict
from napari_sdmae.inference.prediction.rescale import rescale
from napari_sdmae.io.images.pictures import ArrayPicture

RGB = NDArray[np.uint8]


@pytest.mark.parametrize("mpp", [0.5, 0.25])
def test_blocks_give_the_objects_of_the_whole(mpp: float) -> None:
    picture, truth = many_discs(400)
    model = seeing(head("instances"), nuclei_rule)
    whole = predict(model, picture, mpp=mpp).label_map
    blocks = predict(model, picture, mpp=mpp, core=90).label_map
    assert len(whole.class_of) == truth.max()
    np.testing.assert_array_equal(blocks.labels, whole.labels)  # numbers too: they go in reading order
    assert blocks.class_of == whole.class_of
    for name, column in whole.measurements.items():
        np.testing.assert_allclose(blocks.measurements[name], column, atol=1e-5)


def test_blocks_of_real_windows_keep_objects_whole(skin: RGB) -> None:
    """Objects from the maps of a transformer, not from a rule: none is cut at a seam of blocks."""
    model = head("instances", 2)
    with torch.inference_mode():  # a random head says much the same everywhere: centre and stretch what it says
        said = model.head(model.encoder, model.normalise(torch.from_numpy(skin[None, :384, :336].copy())))[0]
    with torch.no_grad():
        spread, middle = said.std((0, 2, 3)), said.flatten(2).quantile(0.7, 2)[0]
        model.head.classifier.weight *= (3 / spread)[:, None, None, None]
        model.head.classifier.bias.copy_((model.head.classifier.bias - middle) * 3 / spread)
    whole, blocks = (predict(model, skin, mpp=0.5, smallest=0.5, core=core).label_map for core in (2016, 150))
    assert len(whole.class_of) > 10
    assert (whole.labels != blocks.labels).mean() < 1e-3
    assert abs(len(whole.class_of) - len(blocks.class_of)) <= 1


def test_touching_nuclei_are_two_with_their_places_and_numbers() -> None:
    picture, truth = discs(128, [(40, 40, 12), (40, 60, 12), (90, 70, 15)])
    found = predict(seeing(head("instances"), nuclei_rule), picture, mpp=0.5).label_map
    assert found.instances
    assert found.class_of == {1: 1, 2: 1, 3: 1}
    for number in (1, 2, 3):  # both count in reading order
        both, either = (found.labels == number) & (truth == number), (found.labels == number) | (truth == number)
        assert both.sum() / either.sum() > 0.85


@pytest.mark.parametrize("steepness", [1.0, 3.0])
def test_outlines_at_the_pixels_of_the_picture_are_better_than_enlarged_labels(steepness: float) -> None:
    """The evidence of decision 0097: discs of known area seen at a quarter of their resolution."""
    places = [(60 + 80 * row, 55 + 75 * column, 17.3 + 2 * row) for row in range(4) for column in range(4)]
    truth = discs(400, places)[1]
    picture = np.repeat(np.where(truth > 0, 0, 255).astype(np.uint8)[..., None], 3, 2)

    def rule(bright: Tensor) -> tuple[Tensor, None]:
        inside = torch.logit(1 - bright, 1e-4) * steepness
        return torch.cat([inside, inside], 1), None

    model = seeing(head("instances"), rule)
    found = predict(model, picture, mpp=0.125).label_map.labels
    seen = predict(model, rescale(ArrayPicture(picture, 0.125), 0.5, 16)[0].read(0, 0, 100, 100), mpp=0.5).label_map.labels
    stairs = seen.repeat(4, 0).repeat(4, 1)
    overlap = [((labels > 0) & (truth > 0)).sum() / ((labels > 0) | (truth > 0)).sum() for labels in (found, stairs)]
    assert len(np.unique(found)) == 17
    assert overlap[0] > overlap[1] + 0.02, overlap
    assert overlap[0] > 0.95, overlap


def test_small_objects_are_left_out_by_their_area_in_micrometres() -> None:
    picture, _ = discs(200, [(50, 50, 12), (120, 120, 5)])  # at 0.5 µm/px about 113 and 20 µm²
    model = seeing(head("instances"), nuclei_rule)
    assert len(predict(model, picture, mpp=0.5, smallest=10).label_map.class_of) == 2
    assert len(predict(model, picture, mpp=0.5, smallest=40).label_map.class_of) == 1


def test_types_and_probabilities_of_objects_are_means_over_their_pixels() -> None:
    picture, _ = discs(128, [(30, 30, 12), (90, 90, 14)])

    def rule(bright: Tensor) -> tuple[Tensor, None]:
        maps, _ = nuclei_rule(bright)
        lower = torch.arange(bright.shape[-2]).view(1, 1, -1, 1).expand_as(bright) / 10 - 3
        return torch.cat([maps, -lower, lower], 1), None

    model = seeing(head("instances", 2), rule)
    model.spec = model.spec.model_copy(update={"tile_size": 128})
    found = predict(model, picture, mpp=0.5, probabilities=True)
    assert found.channels == ("object", "kind 0", "kind 1")
    assert found.label_map.class_of == {1: 1, 2: 2}
    assert found.probabilities is not None
    for number in (1, 2):
        inside = found.label_map.labels == number
        for channel, name in enumerate(found.channels):
            expected = found.probabilities[channel].astype(float)[inside].mean()
            assert found.label_map.measurements[f"probability {name}"][number - 1] == pytest.approx(expected, abs=1e-3)


def test_nuclei_grow_to_cells_and_stay_inside_them() -> None:
    picture, _ = discs(160, [(50, 50, 10), (50, 76, 10), (110, 100, 12)])
    model = seeing(head("instances"), nuclei_rule)
    nuclei = predict(model, picture, mpp=0.5).label_map
    cells = predict(model, picture, mpp=0.5, cell_expansion_um=4.0).label_map
    assert cells.nuclei is not None
    np.testing.assert_array_equal(cells.nuclei, nuclei.labels)
    np.testing.assert_array_equal(cells.labels[cells.nuclei > 0], cells.nuclei[cells.nuclei > 0])
    distance = ndimage.distance_transform_edt(nuclei.labels == 0)
    np.testing.assert_array_equal(cells.labels > 0, distance <= 8)  # 4 µm are 8 px
    with pytest.raises(ValueError, match="scale of the picture is unknown"):
        predict(model, picture, mpp=None, cell_expansion_um=4.0)
    with pytest.raises(ValueError, match="finds no nuclei"):
        predict(head("segmentation", 2), picture, mpp=0.5, cell_expansion_um=4.0)


def test_growing_in_strips_is_growing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, truth = many_discs(300, apart=40)
    whole = grow(truth, 6.5)
    monkeypatch.setattr("napari_sdmae.inference.prediction.objects.ROWS", 37)
    np.testing.assert_array_equal(grow(truth, 6.5), whole)


def test_numbers_go_in_reading_order_and_gaps_close() -> None:
    labels = np.array([[0, 7, 7], [2, 0, 7], [2, 9, 0]], np.int32)
    order = reading_order(labels)
    np.testing.assert_array_equal(labels, [[0, 1, 1], [2, 0, 1], [2, 3, 0]])
    np.testing.assert_array_equal(order, [7, 2, 9])
    assert reading_order(np.zeros((3, 3), np.int32)).size == 0


def test_discs_are_what_the_tests_think() -> None:
    picture, truth = discs(64, [(30, 30, 10)])
    rows, columns = disk((30, 30), 10.0001)
    assert (truth[rows, columns] == 1).all()
    assert picture[30, 30, 0] == 0
