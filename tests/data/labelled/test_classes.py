"""Tiles with one class: scale, mixing, RandAugment, erasing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import beta, kstest

from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.batches.mixing import OPERATIONS, brighten, draw_mixing, erase, mix, mix_targets, rand_augment
from napari_sdmae.data.labelled.read import read_labelled

KEY = (3, 1)
STILL = {"crop_scale": (1, 1), "flip": False, "rotate90": False, "stain_jitter": 0, "brightness": 0}


@pytest.fixture
def classes(tmp_path, pictures, settings):
    for index, picture in enumerate(pictures):
        path = tmp_path / f"class{index % 3}" / f"{index:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    return lambda **changes: settings("classification", tmp_path, **changes)


@pytest.fixture(scope="module")
def images(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def tiles_of(config, tile: int, mpp: float | None = None) -> LabelledTiles:
    labelled = read_labelled(config)
    return LabelledTiles(labelled.images, labelled, config, tile=tile, mpp=mpp)


def everything(tiles: LabelledTiles) -> np.ndarray:
    return np.arange(len(tiles))


def test_one_tile_for_each_image_with_its_class(classes):
    tiles = tiles_of(classes(), 128)
    batch = tiles.batch(everything(tiles), 0, augmented=False)
    assert batch.targets.tolist() == [image.label for image in tiles.images]
    first = np.asarray(Image.open(tiles.images[0].path))
    np.testing.assert_array_equal((batch.images[0] * 255).round().permute(1, 2, 0), first)


def test_an_image_of_unknown_scale_is_shown_whole_and_one_of_known_scale_at_its_scale(classes):
    whole = tiles_of(classes(), 64).batch(np.array([0]), 0, augmented=False).images[0]
    rescale = tiles_of(classes(image_mpp=0.5), 64, mpp=0.5).batch(np.array([0]), 0, augmented=False).images[0]
    picture = np.asarray(Image.open(tiles_of(classes(), 64).images[0].path)).astype(float)
    area = picture.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(whole.permute(1, 2, 0).numpy() * 255 - area).mean() < 0.4 * np.abs(picture[::2, ::2] - area).mean()
    np.testing.assert_array_equal((rescale * 255).round().permute(1, 2, 0), picture[32:96, 32:96])


@pytest.mark.parametrize("extra", [{}, {"mixup": 0.8, "cutmix": 1.0, "rand_augment": 9, "erase": 0.5}])
def test_a_batch_is_the_same_in_any_parts_and_order(classes, extra):
    tiles = tiles_of(classes(augmentation=extra), 96)
    whole = tiles.batch(everything(tiles), 5)
    for part in (everything(tiles)[::-1].copy(), everything(tiles)[3::7], np.array([4])):
        again = tiles.batch(part, 5)
        assert torch.equal(again.images, whole.images[part])
        assert torch.equal(again.targets, whole.targets[part])
    assert not torch.equal(tiles.batch(everything(tiles), 6).images, whole.images)


def test_mixed_targets_are_what_the_pictures_hold(tmp_path, settings):
    """Pictures of one value per class: the mean of a mixed tile is the share of its classes."""
    for index in range(12):
        path = tmp_path / f"c{index % 2}" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((64, 64, 3), 255 * (index % 2), np.uint8)).save(path)
    for extra in ({"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}):
        tiles = tiles_of(settings("classification", tmp_path, augmentation=STILL | extra), 64)
        shares = []
        for epoch in range(5):
            batch = tiles.batch(everything(tiles), epoch)
            assert batch.targets.dtype == torch.float32
            assert torch.allclose(batch.targets.sum(dim=1), torch.ones(12))
            assert torch.allclose(batch.images.mean(dim=(1, 2, 3)), batch.targets[:, 1], atol=1e-5)
            shares += batch.targets[:, 1].tolist()
        assert any(0.05 < share < 0.95 for share in shares)
        exact = [set(picture.unique().tolist()) <= {0.0, 1.0} for picture in tiles.batch(everything(tiles), 0).images]
        assert all(exact) == ("mixup" not in extra)


@pytest.mark.parametrize("alpha", [0.8, 1.0, 0.2])
def test_shares_follow_the_beta_distribution(alpha):
    how = draw_mixing(KEY, np.arange(20_000), 500, alpha, 0, 96)
    assert kstest(how.share, beta(alpha, alpha).cdf).statistic < 0.01
    assert not how.boxes.any()
    assert np.abs(np.bincount(how.partners, minlength=500) / 40 - 1).max() < 0.7


def test_cutmix_boxes_are_their_share_and_lie_inside():
    how = draw_mixing(KEY, np.arange(5000), 500, 0, 1.0, 96)
    top, left, bottom, right = how.boxes.T
    assert (how.boxes >= 0).all()
    assert (how.boxes <= 96).all()
    np.testing.assert_allclose(how.share, 1 - (bottom - top) * (right - left) / 96**2)
    both = draw_mixing(KEY, np.arange(5000), 500, 0.8, 1.0, 96)
    assert both.boxes.any(axis=1).mean() == pytest.approx(0.5, abs=0.05)


def test_mixing_against_a_loop(images):
    how = draw_mixing(KEY, np.arange(len(images)), len(images), 0.8, 1.0, 128)
    others, labels = images[how.partners], torch.arange(len(images)) % 5
    mixed, targets = mix(images.clone(), others, how), mix_targets(labels, labels[how.partners], how, 5)
    for index in range(len(images)):
        share, (top, left, bottom, right) = float(how.share[index]), how.boxes[index]
        if how.boxes[index].any():
            expected = images[index].clone()
            expected[:, top:bottom, left:right] = others[index, :, top:bottom, left:right]
        else:
            expected = images[index] * share + others[index] * (1 - share)
        assert torch.allclose(mixed[index], expected, atol=1e-6)
        wanted = np.zeros(5)
        wanted[index % 5] += share
        wanted[how.partners[index] % 5] += 1 - share
        np.testing.assert_allclose(targets[index], wanted, atol=1e-6)


def test_rand_augment_changes_most_pictures_and_keeps_the_range(images):
    changed = rand_augment(images.clone(), 9, KEY, np.arange(len(images)))
    assert changed.shape == images.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    same = [torch.equal(one, other) for one, other in zip(changed, images, strict=True)]
    assert np.mean(same) < 0.5  # one in four draws no operation
    assert rand_augment(images, 0, KEY, np.arange(len(images))) is images


@pytest.mark.parametrize("operation", range(len(OPERATIONS)))
def test_each_operation_follows_its_level(images, operation):
    picture = (images[0] * 255).round().to(torch.uint8)
    results = [OPERATIONS[operation](picture, level, 1.0) for level in (0.0, 0.5, 1.0)]
    for result in results:
        assert result.dtype == torch.uint8
        assert result.shape == picture.shape
    unlevelled = operation < 3  # autocontrast, equalize and invert have no level
    change = [float((result.float() - picture.float()).abs().mean()) for result in results]
    assert change[0] == change[2] if unlevelled else change[0] < change[2]


def test_operations_are_pillows(images):
    from PIL import ImageOps

    picture = (images[1] * 255).round().to(torch.uint8)
    theirs = Image.fromarray(picture.permute(1, 2, 0).numpy())
    for ours, expected in ((1, ImageOps.equalize(theirs)), (2, ImageOps.invert(theirs))):
        result = OPERATIONS[ours](picture, 0.9, 1.0).permute(1, 2, 0).numpy()
        assert np.abs(result.astype(int) - np.asarray(expected)).mean() < 1
    solarized = OPERATIONS[5](picture, 0.5, 1.0).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(solarized, np.asarray(ImageOps.solarize(theirs, 128)))


def test_erasing_hits_as_often_as_asked_and_leaves_the_rest(images):
    many = images[:1].expand(400, -1, -1, -1)
    changed = erase(many.clone(), 0.25, KEY, np.arange(400))
    different = (changed != many).any(dim=1)
    share = different.float().mean(dim=(1, 2)).numpy()
    assert (share > 0).mean() == pytest.approx(0.25, abs=0.07)
    assert share.max() < 0.36
    noise = changed[different[:, None].expand_as(changed)]
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.02)
    hit = int(np.flatnonzero(share)[0])
    rows, columns = different[hit].any(dim=1).nonzero()[:, 0], different[hit].any(dim=0).nonzero()[:, 0]
    assert different[hit, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].float().mean() > 0.98  # a rectangle


def test_brightness_is_a_factor(images):
    dark = images * 0.5
    changed = brighten(dark, 0.2, KEY, np.arange(len(images)))
    factors = (changed.sum(dim=(1, 2, 3)) / dark.sum(dim=(1, 2, 3))).numpy()
    assert factors.min() >= 0.8
    assert factors.max() <= 1.2
    assert factors.std() > 0.05


def test_rare_classes(tmp_path, pictures, settings):
    for index, picture in enumerate(pictures[:20]):
        path = Path(tmp_path, "rare" if index < 2 else "often", f"{index}.png")
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    tiles = tiles_of(settings("classification", tmp_path, labels={"balance": "sampling"}), 64)
    labels = np.array([image.label for image in tiles.images])
    assert tiles.weights[labels == 0].sum() == pytest.approx(tiles.weights[labels == 1].sum())
    weights = tiles_of(settings("classification", tmp_path, labels={"balance": "weights"}), 64).class_weights()
    assert weights[1] / weights[0] == pytest.approx(3)  # √(18 / 2)
