from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.color import hed2rgb, rgb2hed

from napari_sdmae.config.pretrain import AugmentationConfig
from napari_sdmae.data.batches.augment import Draw, augment, draw_augmentation, jitter_stain, to_border
from napari_sdmae.data.batches.crops import random_boxes, typical_edge
from napari_sdmae.io.images.read import read_image

EVERYTHING = AugmentationConfig(stain_jitter=0.2)
IDENTITY = AugmentationConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=False, rotate90=False, stain_jitter=0)
ONLY_CROP = AugmentationConfig(crop_scale=(0.08, 1), flip=False, rotate90=False, stain_jitter=0)


@pytest.fixture(scope="module")
def tiles(tissue: Path) -> torch.Tensor:
    return torch.from_numpy(np.stack([read_image(path) for path in sorted(tissue.glob("tiles/*/*.jpg"))[::10]]))


def drawn(tiles: torch.Tensor, epoch: int = 0) -> Draw:
    return draw_augmentation(3, epoch, np.arange(len(tiles)))


def fixed(count: int, crop: float = 0.0, flip: tuple[float, float, float] = (0.9, 0.9, 0.0)) -> Draw:
    return Draw(np.full((count, 4), crop), np.tile(np.array(flip), (count, 1)), np.full((count, 3), 0.5))


def as_float(tiles: torch.Tensor) -> torch.Tensor:
    return tiles.permute(0, 3, 1, 2).float() / 255


def test_identity_is_exact(tiles):
    assert torch.equal(augment(tiles, drawn(tiles), IDENTITY, 256), as_float(tiles))


@pytest.mark.parametrize("edge", [16, 63, 224, 255])
def test_identity_is_exact_at_any_edge(tiles, edge):
    small = tiles[:4, :edge, :edge].contiguous()
    assert torch.equal(augment(small, drawn(small), IDENTITY, edge), as_float(small))


@pytest.mark.parametrize("left_right", [0.1, 0.9])
@pytest.mark.parametrize("up_down", [0.1, 0.9])
@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_flips_and_turns_are_those_of_numpy(tiles, left_right, up_down, quarter):
    config = AugmentationConfig(crop_scale=(1, 1), crop_ratio=(1, 1), stain_jitter=0)
    draw = fixed(2, flip=(left_right, up_down, quarter / 4 + 0.1))
    expected = tiles[:2].numpy()
    expected = expected[:, :, ::-1] if left_right < 0.5 else expected
    expected = expected[:, ::-1] if up_down < 0.5 else expected
    expected = np.rot90(expected, quarter, axes=(1, 2))
    assert torch.equal(augment(tiles[:2], draw, config, 256), as_float(torch.from_numpy(expected.copy())))


def test_turned_crop_is_the_turned_picture_of_the_crop(tiles):
    draw = drawn(tiles)
    both = augment(tiles, draw, AugmentationConfig(stain_jitter=0), 112).numpy()
    crop = augment(tiles, draw, AugmentationConfig(flip=False, rotate90=False, stain_jitter=0), 112).numpy()
    for index in range(len(tiles)):
        expected = crop[index]
        expected = expected[:, :, ::-1] if draw.flip[index, 0] < 0.5 else expected
        expected = expected[:, ::-1] if draw.flip[index, 1] < 0.5 else expected
        expected = np.rot90(expected, int(4 * draw.flip[index, 2]), axes=(1, 2))
        assert np.abs(both[index] - expected).max() < 1e-4


@pytest.mark.parametrize(("edge", "size"), [(256, 224), (256, 96), (256, 64), (100, 224)])
def test_batch_equals_one_by_one_to_the_bit(tiles, edge, size):
    some = tiles[:, :edge, :edge].contiguous()
    whole = augment(some, drawn(some), EVERYTHING, size)
    for index in range(len(some)):
        alone = augment(some[index : index + 1], draw_augmentation(3, 0, np.array([index])), EVERYTHING, size)
        assert torch.equal(alone[0], whole[index])


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_any_split_is_the_same(tiles, processes):
    whole = augment(tiles, drawn(tiles), EVERYTHING, 112)
    for rank in range(processes):
        indices = np.arange(rank, len(tiles), processes)
        part = augment(tiles[indices], draw_augmentation(3, 0, indices), EVERYTHING, 112)
        assert torch.equal(part, whole[indices])


def test_epoch_and_seed_change_everything(tiles):
    draws = [draw_augmentation(seed, epoch, np.arange(4)) for seed in (0, 1) for epoch in (0, 1)]
    pictures = [augment(tiles[:4], draw, EVERYTHING, 64) for draw in draws]
    for first in range(4):
        for second in range(first):
            differences = (pictures[first] - pictures[second]).abs().amax(dim=(1, 2, 3))
            assert (differences > 0.05).all()


def pillow_crops(tiles: torch.Tensor, boxes: np.ndarray, size: int, resample: Image.Resampling) -> np.ndarray:
    pictures = []
    for tile, (row, column, height, width) in zip(tiles.numpy(), boxes, strict=True):
        box = (column, row, column + width, row + height)
        pictures.append(np.asarray(Image.fromarray(tile).resize((size, size), resample, box=tuple(map(int, box)))))
    return np.stack(pictures).transpose(0, 3, 1, 2) / 255


def test_crops_equal_pillow_where_they_are_enlarged(tiles):
    """Pillow's bilinear filter and ours are the same when no pixel is left out; Pillow rounds to 8 bits and stops at the crop."""
    draw = drawn(tiles)
    boxes = random_boxes(draw.crop, ONLY_CROP.crop_scale, ONLY_CROP.crop_ratio, 256)
    result = augment(tiles, draw, ONLY_CROP, 256).numpy()
    expected = pillow_crops(tiles, boxes, 256, Image.Resampling.BILINEAR)
    inner = np.abs(result - expected)[:, :, 4:-4, 4:-4]
    assert inner.max() < 2 / 255


@pytest.mark.parametrize("size", [112, 64, 32])
def test_shrunk_crops_are_close_to_pillows_area_average(tiles, size):
    draw = drawn(tiles)
    boxes = random_boxes(draw.crop, (0.5, 1), (0.75, 4 / 3), 256)
    config = AugmentationConfig(crop_scale=(0.5, 1), flip=False, rotate90=False, stain_jitter=0)
    expected = pillow_crops(tiles, boxes, size, Image.Resampling.BILINEAR)
    smooth = np.abs(augment(tiles, draw, config, size).numpy() - expected).mean()
    skipping = np.abs(pillow_crops(tiles, boxes, size, Image.Resampling.NEAREST) - expected).mean()
    assert smooth < 0.45 * skipping


def test_boxes_are_inside_and_as_asked():
    numbers = np.random.default_rng(0).random((20_000, 4))
    boxes = random_boxes(numbers, (0.2, 1.0), (0.75, 4 / 3), 256)
    row, column, height, width = boxes.T
    assert (boxes[:, 2:] >= 1).all()
    assert (row >= 0).all()
    assert (column >= 0).all()
    assert (row + height <= 256).all()
    assert (column + width <= 256).all()
    assert 0.19 < (height * width / 256**2).min() < 0.22
    assert 0.74 < (width / height).min() < 0.76
    assert 1.32 < (width / height).max() < 1.35
    assert {int(value) for value in row[height == 250]} >= {0, 6}


@pytest.mark.parametrize(("scale", "ratio"), [((0.08, 1), (0.75, 4 / 3)), ((0.5, 1), (0.5, 2)), ((0.9, 1), (0.75, 4 / 3))])
def test_boxes_are_distributed_as_torchvisions(scale, ratio):
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    image = torch.empty(3, 256, 256)
    theirs = np.array([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(2000)], float)
    if scale[0] == 0.9:  # there, ten tries often do not suffice, and torchvision falls back to the whole tile
        theirs = theirs[(theirs[:, 2:] < 256).any(axis=1)]
    ours = random_boxes(np.random.default_rng(1).random((60_000, 4)), scale, ratio, 256).astype(float)
    if scale[0] == 0.9:
        ours = ours[(ours[:, 2:] < 256).any(axis=1)]
    quantiles = np.linspace(0.02, 0.98, 25)
    for measure in (
        lambda box: box[:, 2] * box[:, 3] / 256**2,
        lambda box: np.log(box[:, 3] / box[:, 2]),
        lambda box: box[:, 0] / 256,
        lambda box: box[:, 1] / 256,
    ):
        difference = np.abs(np.quantile(measure(theirs), quantiles) - np.quantile(measure(ours), quantiles))
        assert difference.max() < 0.045


@pytest.mark.parametrize(
    ("scale", "ratio"), [((1, 1), (0.75, 4 / 3)), ((0.9, 1), (3, 4)), ((0.5, 0.5), (1, 1)), ((1e-4, 1e-4), (1, 1))]
)
def test_odd_settings_still_give_boxes(scale, ratio):
    boxes = random_boxes(np.random.default_rng(0).random((500, 4)), scale, ratio, 64)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 64).all()
    if scale == (1, 1):
        assert (boxes == [0, 0, 64, 64]).all()


@pytest.mark.parametrize("scale", [(0.08, 0.4), (0.2, 1.0), (0.5, 1.0), (1.0, 1.0)])
def test_the_typical_crop_is_the_middle_of_the_drawn_ones(scale):
    drawn = random_boxes(np.random.default_rng(0).random((50_000, 4)), scale, (0.75, 4 / 3), 1024)[:, 2:]
    edges = np.sqrt(drawn.prod(1)) / 1024
    assert typical_edge(scale, (0.75, 4 / 3)) == pytest.approx(np.exp(np.log(edges).mean()), rel=0.003)
    assert typical_edge(scale, (0.75, 4 / 3)) == pytest.approx(np.median(edges), rel=0.06)


def test_stain_jitter_is_that_of_scikit_image(tiles):
    """Where no stain is negative: scikit-image cuts those at zero."""
    images = as_float(tiles[:6]).clamp(1 / 255, 1)
    strength = np.array([[1.2, 0.9, 1.0]] * 6)
    result = jitter_stain(images, strength).permute(0, 2, 3, 1).numpy()
    pixels = images.permute(0, 2, 3, 1).numpy().astype(float)
    stains = rgb2hed(pixels)
    expected = hed2rgb(stains * strength[0])
    comparable = (stains > 0).all(axis=-1)
    assert comparable.mean() > 0.05
    assert np.abs(result - expected)[comparable].max() < 1e-4


def test_stain_strength_one_changes_nothing_and_white_stays_white(tiles):
    images = as_float(tiles[:3]).clamp(1 / 255, 1)
    assert (jitter_stain(images, np.ones((3, 3))) - images).abs().max() < 1e-5
    white = torch.ones(2, 3, 8, 8)
    assert torch.equal(jitter_stain(white, np.array([[1.5, 0.5, 1.2]] * 2)), white)


def test_more_haematoxylin_darkens_nuclei_more_than_the_rest(tiles):
    images = as_float(tiles)
    changed = jitter_stain(images, np.array([[1.5, 1.0, 1.0]] * len(images)))
    assert (changed <= images + 1e-5).float().mean() > 0.95
    darker = images - changed
    red = images[:, :1]
    nuclei = (red < 0.5).expand_as(darker)
    assert darker[nuclei].mean() > 1.5 * darker[~nuclei].mean()


def test_result_is_in_range(tiles):
    result = augment(tiles, drawn(tiles), AugmentationConfig(stain_jitter=1.0), 224)
    assert result.dtype == torch.float32
    assert result.shape == (len(tiles), 3, 224, 224)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_places_moved_to_the_border_are_its_continuation(mode):
    """What stands for the border padding that Apple GPUs lack: outside, on the edge and inside."""
    pixels = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    steps = torch.linspace(-1.7, 1.7, 41)
    grid = torch.stack(torch.meshgrid(steps, steps.flip(0), indexing="xy"), -1)[None].expand(2, -1, -1, -1)
    wanted = F.grid_sample(pixels, grid, mode=mode, padding_mode="border", align_corners=False)
    found = F.grid_sample(pixels, to_border(grid, 5), mode=mode, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
