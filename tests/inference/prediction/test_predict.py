"""What heads say about pictures: on the right pixels, at any scale, in blocks as in the whole."""

from __future__ import annotations

import json
import pickle
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from seeing_heads import TILE, boxes_rule, dark_or_bright, head, nuclei_rule, seeing
from skimage.draw import disk
from torch import Tensor, nn

from napari_sdmae.data.tiles.grid import tissue_fraction
from napari_sdmae.devices.precision import autocast, select_precision
from napari_sdmae.inference.prediction.objects import grow, reading_order
from napari_sdmae.inference.prediction.predict import predict, predict_file
from napari_sdmae.inference.prediction.rescale import linear, nearest, rescale
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.images.blocks import empty, spans
from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.io.images.pictures import ArrayPicture, FilePicture, Part
from napari_sdmae.io.images.read import read_image
from napari_sdmae.io.labels.registry import import_labels
from napari_sdmae.io.memory import TooLargeError
from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.models.heads.sliding_window import starts
from napari_sdmae.notices import scale_notes
from napari_sdmae.worker.protocol import MeasureRequest, SegmentRequest, WorkerError, handle

RGB = NDArray[np.uint8]


def discs(size: int, centres: list[tuple[float, float, float]]) -> tuple[RGB, NDArray[np.int32]]:
    """White with dark discs (row, column, radius) that grow darker to their middles, and their numbers."""
    rows, columns = np.mgrid[:size, :size]
    brightness, truth = np.full((size, size), 0.9), np.zeros((size, size), np.int32)
    for number, (row, column, radius) in enumerate(centres, 1):
        distance = np.hypot(rows - row, columns - column)
        brightness = np.minimum(brightness, np.where(distance <= radius, 0.6 * distance / radius, 0.9))
        truth[(distance <= radius) & (truth == 0)] = number
    return np.repeat(np.rint(brightness * 255).astype(np.uint8)[..., None], 3, 2), truth


def many_discs(size: int, apart: int = 30, radius: float = 9.0) -> tuple[RGB, NDArray[np.int32]]:
    random = np.random.default_rng(0)
    centres = [
        (row + random.uniform(-4, 4), column + random.uniform(-4, 4), random.uniform(0.7, 1.0) * radius)
        for row in range(apart, size - apart + 1, apart)
        for column in range(apart, size - apart + 1, apart)
    ]
    return discs(size, centres)


@pytest.fixture(scope="module")
def skin(tissue: Path) -> RGB:
    return read_image(tissue / "regions" / "skin_morphea.jpg")[600:1000, 500:850]


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
    assert np.ptp(whole.probabilities[0].astype(float)) > 10 * tolerance, "one value everywhere would be the same in any blocks"
    np.testing.assert_allclose(blocks.probabilities.astype(float), whole.probabilities.astype(float), atol=tolerance)
    differing = whole.label_map.labels != blocks.label_map.labels
    assert differing.mean() < (1e-3 if mpp != 0.5 else 1e-5)


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


def stained(tissue: Path, organ: str, count: int) -> RGB:
    """Return tiles of 64 px of an organ that show tissue, (count, 64, 64, 3)."""
    images = np.stack([read_image(path) for path in sorted(tissue.glob(f"tiles/{organ}/*.jpg"))[:20]])
    tiles = images.reshape(-1, 4, TILE, 4, TILE, 3).swapaxes(2, 3).reshape(-1, TILE, TILE, 3)
    return tiles[tissue_fraction(tiles) > 0.9][:count]


def glass(shape: tuple[int, ...], seed: int) -> RGB:
    return np.clip(np.random.default_rng(seed).normal(238, 3, shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def tissue_or_glass(tissue: Path) -> HeadModel:
    """A classifier of tissue against glass: ridge regression on the features of a random encoder, from 100 tiles of each."""
    model = head("classification", 2)
    tiles = np.concatenate([glass((100, TILE, TILE, 3), 0), stained(tissue, "colon", 100)])
    with torch.inference_mode():
        features = np.c_[model.pooled(model.normalise(torch.from_numpy(tiles))).numpy(), np.ones(len(tiles))]
    wanted = np.repeat([-1.0, 1.0], [100, len(tiles) - 100])
    weights = np.linalg.solve(features.T @ features + 0.1 * np.eye(49), features.T @ wanted)
    model.head = nn.Linear(48, 2)
    with torch.no_grad():
        model.head.weight.copy_(10 * torch.tensor(np.stack([-weights[:-1], weights[:-1]]), dtype=torch.float32))
        model.head.bias.copy_(10 * torch.tensor([-weights[-1], weights[-1]], dtype=torch.float32))
    return model


def test_tiles_are_classified_where_they_lie(tissue_or_glass: HeadModel, tissue: Path) -> None:
    picture = glass((256, 512, 3), 1)
    other = stained(tissue, "stomach", 16).reshape(4, 4, TILE, TILE, 3).swapaxes(1, 2).reshape(256, 256, 3)
    picture[:, 256:] = other
    found = predict(tissue_or_glass, picture, mpp=0.5, probabilities=True)
    tiles = found.label_map
    assert tiles.instances
    assert (tiles.labels.shape, tiles.step) == ((4, 8), TILE)
    values = np.vectorize(tiles.class_of.get)(tiles.labels)
    np.testing.assert_array_equal(values, np.repeat([[0] * 4 + [1] * 4], 4, 0))
    assert [one.value for one in tiles.classes] == [0, 1]  # of tiles, 0 is a class like others
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities[1].astype(float).ravel(), tiles.measurements["probability kind 1"], atol=1e-3)
    one = predict(tissue_or_glass, picture[:100, 256:356], mpp=0.5).label_map
    assert one.class_of == {1: 1}
    np.testing.assert_array_equal(one.labels, np.ones((100, 100)))
    with torch.inference_mode():
        for small in (picture[:100, 256:340], picture[100:150, 250:360]):  # the tile in the middle, reflected where it is short
            height, width = small.shape[:2]
            middle = small[max(height - TILE, 0) // 2 :, (width - TILE) // 2 :][:TILE, :TILE]
            middle = np.pad(middle, ((0, TILE - len(middle)), (0, 0), (0, 0)), mode="symmetric")
            logits = tissue_or_glass(tissue_or_glass.normalise(torch.from_numpy(middle)[None]))
            found = predict(tissue_or_glass, small, mpp=0.5, probabilities=True)
            np.testing.assert_allclose(found.probabilities.ravel(), logits.softmax(1).numpy()[0], atol=1e-3)
    finer = predict(tissue_or_glass, picture.repeat(2, 0).repeat(2, 1), mpp=0.25).label_map
    assert (finer.labels.shape, finer.step) == ((4, 8), 2 * TILE)


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


def test_a_file_is_predicted_as_its_pixels(skin: RGB, tmp_path: Path) -> None:
    path = tmp_path / "skin.tif"
    scale = {"resolution": (1e4 / 0.25, 1e4 / 0.25), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, skin, photometric="rgb", tile=(64, 64), **scale)
    model = head("segmentation", 3)
    pixels = predict(model, skin, mpp=0.25, core=70)
    file = predict_file(model, path, core=70)
    np.testing.assert_array_equal(file.label_map.labels, pixels.label_map.labels)
    assert file.label_map.mpp == pytest.approx(0.25)
    assert file.label_map.source == str(path)
    part = predict_file(model, path, region=(50, 60, 128, 100), core=70)
    np.testing.assert_array_equal(
        part.label_map.labels, predict(model, skin, mpp=0.25, region=(50, 60, 128, 100), core=70).label_map.labels
    )


def test_a_file_is_held_in_bands_only(tmp_path: Path) -> None:
    path, random = tmp_path / "tall.tif", np.random.default_rng(0)
    pixels = random.integers(0, 256, (3000, 64, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64))
    picture = Part(FilePicture(path, 0.5), (100, 8, 2800, 40))
    held = []
    for row in range(0, 2700, 50):
        np.testing.assert_array_equal(picture.read(row, 3, 100, 30), pixels[100 + row : 200 + row, 11:41])
        held.append(sum(map(len, picture.whole._held)))  # type: ignore[attr-defined]
    assert max(held) <= 3 * 256
    with pytest.raises(ValueError, match="from top to bottom"):
        picture.read(0, 0, 10, 10)


def test_what_cannot_be_predicted_says_why() -> None:
    model = head("segmentation", 2)
    with pytest.raises(InvalidFieldError, match="less than one patch of 16 px"):
        predict(model, np.zeros((20, 300, 3), np.uint8), mpp=0.2)
    with pytest.raises(InvalidFieldError, match="not inside the image"):
        predict(model, np.zeros((100, 100, 3), np.uint8), mpp=0.5, region=(50, 50, 60, 60))
    with pytest.raises(ValueError, match="step 0"):
        predict(model, np.zeros((100, 100, 3), np.uint8), mpp=0.5, step=0)


@pytest.mark.parametrize(("mpp", "told"), [(0.02, False), (0.5, False), (0.75, False), (0.76, True), (5.0, True)])
def test_only_what_is_enlarged_much_lacks_detail(mpp: float, told: bool) -> None:
    """A picture is brought to the scale of the head, 0.5 µm/px: reduced it shows what training showed, enlarged it is blurred."""
    _, notes = rescale(ArrayPicture(np.zeros((600, 600, 3), np.uint8), mpp), 0.5, 16)
    assert notes == (scale_notes(0.5, mpp) if told else [])
    assert bool(notes) == told


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


def test_numbers_go_in_reading_order_and_gaps_close() -> None:
    labels = np.array([[0, 7, 7], [2, 0, 7], [2, 9, 0]], np.int32)
    order = reading_order(labels)
    np.testing.assert_array_equal(labels, [[0, 1, 1], [2, 0, 1], [2, 3, 0]])
    np.testing.assert_array_equal(order, [7, 2, 9])
    assert reading_order(np.zeros((3, 3), np.int32)).size == 0


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


def test_the_worker_segments_as_predict_does(tmp_path: Path, skin: RGB, monkeypatch: pytest.MonkeyPatch) -> None:
    save_head(tmp_path / "head", head("segmentation", 3))
    request = SegmentRequest(str(tmp_path / "head"), skin[:100, :120], mpp=0.5, device="cpu", precision="fp32")
    found = pickle.loads(pickle.dumps(handle(replace(request, probabilities=True))))
    expected = predict(head("segmentation", 3), skin[:100, :120], mpp=0.5, probabilities=True)
    np.testing.assert_array_equal(found.label_map.labels, expected.label_map.labels)
    assert found.label_map.classes == expected.label_map.classes
    assert set(found.label_map.measurements) >= {"label", "area (µm²)", "haematoxylin OD", "probability"}
    assert expected.probabilities is not None
    np.testing.assert_allclose(found.probabilities / 255, expected.probabilities.astype(float), atol=3e-3)
    assert found.channels == ("kind 0", "kind 1", "kind 2")
    assert (found.head.task, found.head_name, found.head.metrics) == ("segmentation", "head", {})
    monkeypatch.setattr("napari_sdmae.worker.cache.load_head", lambda *_: pytest.fail("the head was in memory"))
    assert handle(request).label_map.classes == found.label_map.classes


def test_the_worker_measures_labels_corrected_by_hand() -> None:
    picture, truth = discs(120, [(40, 40, 12), (80, 80, 10)])
    labels = LabelMap(truth, make_classes(["nucleus"], 1), instances=True, class_of={1: 1, 2: 1}, mpp=0.5, origin=(30.0, 50.0))
    table = handle(MeasureRequest(labels, picture)).measurements
    np.testing.assert_allclose(table["area (µm²)"], [(truth == 1).sum() * 0.25, (truth == 2).sum() * 0.25])
    assert "haematoxylin OD" in table
    assert "haematoxylin OD" not in handle(MeasureRequest(labels)).measurements


def test_the_worker_says_what_is_no_head(skin: RGB, model_folder: Path) -> None:
    with pytest.raises(WorkerError, match="without a head"):
        handle(SegmentRequest(str(model_folder), skin))


def test_bf16_is_taken_where_a_probe_shows_that_it_pays(monkeypatch: pytest.MonkeyPatch, skin: RGB) -> None:
    cpu = torch.device("cpu")
    for factor, chosen in ((2.0, "bf16"), (1.1, "fp32")):
        monkeypatch.setattr("napari_sdmae.devices.precision.answering_gain", lambda kind, factor=factor: factor)
        assert select_precision("auto", cpu, training=False).precision == chosen
    assert select_precision("bf16", cpu, training=False).precision == "bf16"
    monkeypatch.setattr("napari_sdmae.devices.precision.works_in_bf16", lambda device: False)
    assert select_precision("auto", cpu, training=False).precision == "fp32"
    with pytest.raises(ValueError, match="bf16 does not work on cpu"):
        select_precision("bf16", cpu, training=False)
    exact, coarse = (
        predict(head("segmentation", 3), skin, mpp=0.5, probabilities=True, autocast=autocast(cpu, precision)).probabilities
        for precision in ("fp32", "bf16")
    )
    assert exact is not None
    assert coarse is not None
    assert 0 < np.abs(exact.astype(float) - coarse.astype(float)).max() < 0.03


def test_the_example_exports_what_qupath_reads(tmp_path: Path, tissue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = head("segmentation", 3)
    save_head(tmp_path / "head", model)
    image = sorted(tissue.glob("tiles/colon/*.jpg"))[0]
    monkeypatch.setattr(sys, "argv", ["predict_and_export.py", str(tmp_path / "head"), str(image), "0.5", str(tmp_path / "out")])
    runpy.run_path(str(Path(__file__).parents[3] / "examples" / "predict_and_export.py"), run_name="__main__")
    expected = predict(model, read_image(image), mpp=0.5).label_map
    np.testing.assert_array_equal(import_labels(tmp_path / "out" / "labels.ome.tif").labels, expected.labels)
    features = json.loads((tmp_path / "out" / "labels.geojson").read_text())["features"]
    assert {feature["properties"]["classification"]["name"] for feature in features} == {
        expected.class_named(value).name for value in np.unique(expected.labels) if value
    }
    assert (tmp_path / "out" / "measurements.csv").exists()


def test_discs_are_what_the_tests_think() -> None:
    picture, truth = discs(64, [(30, 30, 10)])
    rows, columns = disk((30, 30), 10.0001)
    assert (truth[rows, columns] == 1).all()
    assert picture[30, 30, 0] == 0


def test_a_classifier_of_unknown_scale_sees_pictures_as_its_training_images(skin: RGB) -> None:
    """Trained on images of 128 px fitted to tiles of 64: a picture of 128 px is one tile, whatever its scale."""
    model = head("classification", 2)
    model.spec = model.spec.model_copy(update={"mpp": None, "tile_size": 64, "fitted_px": 128.0})
    picture = skin[:128, :128]
    halved = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR))
    with torch.inference_mode():
        expected = model(model.normalise(torch.from_numpy(halved)[None])).softmax(1)[0].numpy()
    for mpp in (None, 0.25):
        found = predict(model, picture, mpp=mpp, probabilities=True)
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities.astype(float).max((1, 2)), expected, atol=2e-3)
        assert any("resized 0.5 times" in warning for warning in found.warnings)
