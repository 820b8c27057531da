"""Batches of labelled tiles: image and labels stay together, and everything random is a function of seed, epoch and index."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage.segmentation import clear_border

from napari_sdmae.data.batches.boxes import move_boxes
from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.labelled.class_balance import majority_types
from napari_sdmae.data.labelled.load import resize_instances, resize_labels
from napari_sdmae.data.labelled.read import load_labelled, read_labelled
from napari_sdmae.labels.label_map import IGNORE

STILL = {"crop_scale": (1, 1), "flip": False, "rotate90": False, "stain_jitter": 0, "brightness": 0}
MOVED = {"crop_scale": (0.4, 1), "flip": True, "rotate90": True, "stain_jitter": 0, "brightness": 0}


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def tiles_of(config, tile: int, mpp: float | None = None, part: str | None = None) -> LabelledTiles:
    labelled = read_labelled(config)
    return LabelledTiles(labelled.part(part) if part else labelled.images, labelled, config, tile=tile, mpp=mpp)


def everything(tiles: LabelledTiles) -> np.ndarray:
    return np.arange(len(tiles))


@pytest.fixture
def painted(tmp_path, pictures, settings):
    """Images whose mask is the red channel in steps of 32: what shows the two moved together."""
    for index, picture in enumerate(pictures[:8]):
        blocks = np.kron(picture[::32, ::32, 0] // 32, np.ones((32, 32), np.uint8))
        save(tmp_path / "images" / f"{index}.png", np.repeat(blocks[..., None] * 32, 3, axis=2))
        save(tmp_path / "masks" / f"{index}.png", blocks)
    return lambda **changes: settings("segmentation", tmp_path, **changes)


class TestSegmentation:
    def test_labels_move_with_the_image(self, painted):
        tiles = tiles_of(painted(augmentation=MOVED), 64)
        values = np.array([one.value for one in tiles.labelled.classes])
        moved = 0
        for epoch in range(4):
            batch = tiles.batch(everything(tiles), epoch)
            grey = batch.images[:, 0].numpy() * 255
            inside = np.abs(grey / 32 - np.rint(grey / 32)) < 1e-3  # where no two blocks are mixed
            assert inside.mean() > 0.9
            agree = np.rint(grey / 32)[inside] == values[batch.targets.numpy()][inside]
            assert agree.mean() > 0.9999  # at the very middle between two pixels, either is the nearest
            still = tiles.batch(everything(tiles), epoch, augmented=False)
            moved += int((batch.targets != still.targets).any(dim=(1, 2)).sum())
        assert moved > len(tiles)

    def test_the_grid_shows_every_pixel_and_label_as_it_is(self, masks, settings):
        tiles = tiles_of(settings("segmentation", masks), 64)
        batch = tiles.batch(everything(tiles), 0, augmented=False)
        assert batch.images.shape == (40, 3, 64, 64)
        picture = np.asarray(Image.open(masks / "images" / "case0.png"))
        mask = np.asarray(Image.open(masks / "masks" / "case0.png"))
        shown = (batch.images[:4] * 255).round().permute(0, 2, 3, 1).numpy().reshape(2, 2, 64, 64, 3)
        np.testing.assert_array_equal(shown.swapaxes(1, 2).reshape(128, 128, 3), picture)
        np.testing.assert_array_equal(batch.targets[:4].numpy().reshape(2, 2, 64, 64).swapaxes(1, 2).reshape(128, 128), mask)

    def test_a_batch_is_the_same_in_any_parts_and_order(self, masks, settings):
        tiles = tiles_of(settings("segmentation", masks), 48)
        whole = tiles.batch(everything(tiles), 5)
        for part in (everything(tiles)[::-1], everything(tiles)[3::7], np.array([4])):
            again = tiles.batch(part, 5)
            assert torch.equal(again.images, whole.images[part.copy()])
            assert torch.equal(again.targets, whole.targets[part.copy()])
        assert not torch.equal(tiles.batch(everything(tiles), 6).images, whole.images)

    def test_a_tile_drawn_twice_can_be_two_crops(self, masks, settings):
        tiles = tiles_of(settings("segmentation", masks), 48)
        same = tiles.batch(np.array([3, 3]), 0).images
        other = tiles.batch(np.array([3, 3]), 0, draws=np.array([0, 1])).images
        assert torch.equal(same[0], same[1])
        assert not torch.equal(other[0], other[1])

    def test_small_images_are_reflected_and_the_reflection_is_not_learned(self, masks, settings):
        tiles = tiles_of(settings("segmentation", masks, augmentation=STILL), 160)
        batch = tiles.batch(everything(tiles), 0, augmented=False)
        assert (batch.targets[:, 128:] == IGNORE).all()
        assert (batch.targets[:, :, 128:] == IGNORE).all()
        assert (batch.targets[:, :128, :128] != IGNORE).all()
        assert torch.equal(batch.images[:, :, 128:], batch.images[:, :, 96:128].flip(2))
        assert torch.equal(tiles.batch(everything(tiles), 0).targets, batch.targets)

    def test_sparse_strokes_are_found_by_the_crops(self, tmp_path, pictures, settings):
        for index, picture in enumerate(pictures[:6]):
            strokes = np.zeros((128, 128), np.uint8)
            strokes[10:60, 10:14], strokes[10:14, 10:60] = 1, 2
            save(tmp_path / "images" / f"{index}.png", picture)
            save(tmp_path / "masks" / f"{index}.png", strokes)
        tiles = tiles_of(settings("segmentation", tmp_path, labels={"ignore_value": 0}, augmentation=STILL), 32)
        shows = [(tiles.batch(everything(tiles), epoch).targets != IGNORE).any(dim=(1, 2)).float().mean() for epoch in range(3)]
        assert min(shows) == 1  # a crop at a random place shows a stroke in one of six cases

    def test_scale_changes_image_and_labels_alike(self, masks, settings):
        config = settings("segmentation", masks, image_mpp=0.25)
        labelled = read_labelled(config)
        loaded = load_labelled(labelled.images[0], labelled, 0.5, 255)
        assert loaded.image.shape == (64, 64, 3)
        picture = np.asarray(Image.open(masks / "images" / "case0.png")).astype(float)
        area = picture.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.abs(loaded.image - area).mean() < 0.4 * np.abs(picture[::2, ::2] - area).mean()
        mask = np.asarray(Image.open(masks / "masks" / "case0.png"))
        np.testing.assert_array_equal(loaded.target, mask[1::2, 1::2])
        assert len(tiles_of(config, 64, mpp=0.5)) == 10
        assert len(tiles_of(config, 64, mpp=0.125)) == 160

    def test_rare_classes_weigh_more_and_are_drawn_more_often(self, tmp_path, pictures, settings):
        for index, picture in enumerate(pictures[:10]):
            mask = np.zeros((128, 128), np.uint8)
            mask[: 64 if index == 0 else 0] = 1
            save(tmp_path / "images" / f"{index}.png", picture)
            save(tmp_path / "masks" / f"{index}.png", mask)
        tiles = tiles_of(settings("segmentation", tmp_path, labels={"balance": "weights"}), 64)
        weights = np.array(tiles.class_weights())
        assert weights[1] / weights[0] == pytest.approx(np.sqrt(19))  # 1 part in 20 is of class 1
        assert weights.mean() == pytest.approx(1)
        assert (tiles.weights == 1).all()
        tiles = tiles_of(settings("segmentation", tmp_path, labels={"balance": "sampling"}), 64)
        assert tiles.class_weights() == (1, 1)
        assert tiles.weights[0] / tiles.weights[-1] == pytest.approx((20 / 2 + 20 / 19 / 2) / (20 / 19))
        assert tiles.weights.mean() == pytest.approx(1)


class TestInstances:
    def test_targets_are_those_of_the_whole_image(self, nuclei, settings):
        """Slow oracle: SciPy's distance transform, object by object, in the uncut image."""
        tiles = tiles_of(settings("instances", nuclei), 64)
        batch = tiles.batch(everything(tiles)[:12], 0, augmented=False)
        for place, (which, row, column) in enumerate(tiles._places[:12]):
            numbers = np.asarray(Image.open(tiles.images[which].labels)).astype(int)
            distance = np.zeros(numbers.shape)
            for number in np.unique(numbers[numbers > 0]):
                inside = ndimage.distance_transform_edt(numbers == number)
                distance += inside / inside.max()
            area = slice(row, row + 64), slice(column, column + 64)
            np.testing.assert_array_equal(batch.targets["foreground"][place, 0], numbers[area] > 0)
            assert np.abs(batch.targets["separation"][place, 0].numpy() - distance[area]).max() <= 0.5 / 255 + 1e-6

    def test_maps_move_with_the_image(self, nuclei, settings):
        config = settings("instances", nuclei, augmentation=MOVED)
        tiles = tiles_of(config, 96)
        batch = tiles.batch(everything(tiles), 1)
        foreground, separation = batch.targets["foreground"], batch.targets["separation"]
        assert set(foreground.unique().tolist()) == {0, 1}
        assert (separation[foreground == 0] < 0.75).all()
        assert float(separation.max()) <= 1
        dark = (batch.images.mean(dim=1, keepdim=True) * foreground).sum() / foreground.sum()
        bright = (batch.images.mean(dim=1, keepdim=True) * (1 - foreground)).sum() / (1 - foreground).sum()
        assert dark < bright - 0.05  # nuclei are dark: the maps lie on them

    def test_crops_show_objects_at_the_scale_of_the_head_on_average(self, tmp_path, settings):
        """What is learned is what prediction shows: discs are as often larger as smaller than they are."""
        rows, columns = np.mgrid[:512, :512]
        disc = (rows % 32 - 16) ** 2 + (columns % 32 - 16) ** 2 <= 81
        labels = ndimage.label(disc)[0].astype(np.uint16)
        save(tmp_path / "images" / "a.png", np.repeat((disc * 255).astype(np.uint8)[..., None], 3, axis=2))
        save(tmp_path / "labels" / "a.png", labels)
        config = settings("instances", tmp_path, augmentation=MOVED | {"crop_scale": (0.25, 1)})
        tiles, scales = tiles_of(config, 128), []
        for epoch in range(12):
            for shown in tiles.batch(everything(tiles), epoch).targets["foreground"][:, 0].numpy() > 0:
                areas = np.bincount(clear_border(ndimage.label(shown)[0]).ravel())[1:]
                scales.append(np.sqrt(np.median(areas[areas > 0]) / disc[:32, :32].sum()))
        assert np.exp(np.mean(np.log(scales))) == pytest.approx(1, rel=0.05)
        assert max(scales) > 1.2
        assert min(scales) < 0.85

    def test_types_are_given_inside_objects_only(self, tmp_path, pictures, settings):
        for index, picture in enumerate(pictures[:6]):
            numbers = ndimage.label(picture.mean(axis=2) < 130)[0].astype(np.uint16)
            kinds = ((numbers % 2 + 1) * (numbers > 0)).astype(np.uint8)
            save(tmp_path / "images" / f"{index}.png", picture)
            save(tmp_path / "labels" / f"{index}.png", numbers)
            save(tmp_path / "types" / f"{index}.png", kinds)
        tiles = tiles_of(settings("instances", tmp_path), 128)
        targets = tiles.batch(everything(tiles), 0, augmented=False).targets
        expected = np.stack([np.asarray(Image.open(image.types)) for image in tiles.images]).astype(int) - 1
        np.testing.assert_array_equal(targets["types"], expected)
        moved = tiles.batch(everything(tiles), 0).targets
        assert torch.equal(moved["types"] >= 0, moved["foreground"][:, 0] > 0)

    def test_small_images_are_reflected_with_their_maps(self, nuclei, settings):
        tiles = tiles_of(settings("instances", nuclei), 400)
        batch = tiles.batch(np.array([0]), 0, augmented=False)
        height = tiles.images[0].size[0]
        for values in (batch.images, batch.targets["foreground"], batch.targets["separation"]):
            assert torch.equal(values[:, :, height : height + 50], values[:, :, height - 50 : height].flip(2))

    def test_no_object_is_lost_when_it_gets_small(self, nuclei):
        for path in sorted((nuclei / "labels").glob("*.png"))[:6]:
            numbers = np.asarray(Image.open(path)).astype(np.int32)
            for edge in (64, 24, 12):
                small = resize_instances(numbers, (edge, edge))
                assert set(np.unique(small)) - {0} == set(np.unique(numbers)) - {0}
                assert (small == resize_labels(numbers, (edge, edge))).mean() > 0.7

    def test_too_many_objects_for_the_pixels(self):
        with pytest.raises(ValueError, match=r"5 objects do not fit into 2 × 2 px: use a finer scale"):
            resize_instances(np.arange(1, 7, dtype=np.int32)[:5, None] * np.ones((1, 5), np.int32), (2, 2))

    def test_majority_types_against_counting(self, nuclei):
        numbers = np.asarray(Image.open(sorted((nuclei / "labels").glob("*.png"))[0])).astype(np.int32)
        kinds = np.random.default_rng(0).integers(0, 4, numbers.shape).astype(np.int32)
        expected = {
            int(number): int(np.bincount(kinds[(numbers == number) & (kinds > 0)], minlength=4).argmax()) or 9
            for number in np.unique(numbers)
            if number
        }
        assert majority_types(numbers, kinds, 9) == expected


class TestDetection:
    @pytest.fixture
    def spots(self, tmp_path, settings):
        """White rectangles on black: the boxes can be found again in the pictures."""
        rng = np.random.default_rng(0)
        images, annotations = [], []
        for index in range(8):
            picture = np.zeros((160, 160, 3), np.uint8)
            images.append({"id": index, "file_name": f"{index}.png", "width": 160, "height": 160})
            for row in range(0, 160, 40):
                for column in range(0, 160, 40):
                    height, width = (int(value) for value in rng.integers(12, 24, 2))
                    top, left = row + int(rng.integers(4, 14)), column + int(rng.integers(4, 14))
                    picture[top : top + height, left : left + width] = 255
                    annotations.append(
                        {"id": len(annotations), "image_id": index, "category_id": 1, "bbox": [left, top, width, height]}
                    )
            save(tmp_path / f"{index}.png", picture)
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "spot"}]}
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        return lambda **changes: settings("detection", tmp_path, **changes)

    @pytest.mark.parametrize("changes", [STILL, MOVED])
    def test_boxes_lie_on_what_they_were_drawn_around(self, spots, changes):
        tiles = tiles_of(spots(augmentation=changes), 96)
        found = 0
        for epoch in range(3):
            batch = tiles.batch(everything(tiles), epoch)
            for picture, target in zip(batch.images, batch.targets, strict=True):
                objects = ndimage.find_objects(ndimage.label(picture[0].numpy() > 0.5)[0])
                seen = np.array([[c.start, r.start, c.stop, r.stop] for r, c in objects])
                for box in target["boxes"].numpy():
                    found += 1
                    assert np.abs(seen - box).max(axis=1).min() < 1.5
                assert (target["labels"] == 1).all()
        assert found > 300

    def test_boxes_move_as_the_four_corners_do(self):
        crops = np.array([[10, 20, 50, 60]])
        targets = [{"boxes": torch.tensor([[30.0, 20.0, 50.0, 50.0]]), "labels": torch.tensor([3])}]
        still = move_boxes(targets, crops, np.eye(2)[None], 100)[0]["boxes"]
        np.testing.assert_allclose(still, [[10 / 60 * 100, 20, 50, 80]], atol=1e-4)
        flipped = move_boxes(targets, crops, np.diag([-1.0, 1.0])[None], 100)[0]["boxes"]
        np.testing.assert_allclose(flipped, [[50, 20, 100 - 10 / 60 * 100, 80]], atol=1e-4)

    def test_boxes_are_scaled_with_the_image(self, spots):
        config = spots(image_mpp=0.5)
        labelled = read_labelled(config)
        loaded = load_labelled(labelled.images[0], labelled, 1.0, 255)
        assert loaded.image.shape == (80, 80, 3)
        np.testing.assert_allclose(loaded.target, np.array([box[:4] for box in labelled.images[0].boxes]) / 2)
        assert loaded.labels.tolist() == [1] * 16

    def test_hardly_visible_boxes_are_dropped(self, spots):
        tiles = tiles_of(spots(augmentation=STILL), 96)
        for target in tiles.batch(everything(tiles), 0).targets:
            assert target["boxes"].shape[1:] == (4,)
            sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
            assert (sides >= 1).all()


class TestMemory:
    def test_a_small_memory_gives_the_same_tiles(self, masks, settings):
        config = settings("segmentation", masks)
        labelled = read_labelled(config)
        kept = LabelledTiles(labelled.images, labelled, config, tile=64, mpp=None)
        for budget in (0, 200_000):
            again = LabelledTiles(labelled.images, labelled, config, tile=64, mpp=None, memory=budget)
            for index in (39, 0, 17, 39):
                assert torch.equal(again.batch(np.array([index]), 2).images, kept.batch(np.array([index]), 2).images)
            assert again._prepared._bytes <= budget

    def test_kept_images_are_not_read_again(self, masks, settings):
        tiles = tiles_of(settings("segmentation", masks), 64)
        before = tiles.batch(everything(tiles), 0).images
        for path in (masks / "images").iterdir():
            path.unlink()
        assert torch.equal(tiles.batch(everything(tiles), 0).images, before)
