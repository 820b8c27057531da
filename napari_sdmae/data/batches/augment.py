"""Random crops, flips, rotations and stain strength, for a whole batch at once on the device.

The random numbers are drawn on the CPU from (seed, epoch, index) alone; nothing here reads back from the device.

Crop, flip and turn make one 2 × 3 matrix per tile for one ``grid_sample``. Its grid is built elementwise, since a matrix
product may round differently in another batch: batch and single tiles are equal bit for bit. Without crops and resizing the
nearest pixel is taken, which moves pixels exactly. Stain jitter multiplies haematoxylin, eosin and residual in optical density
without an offset, so that glass stays white; it equals scikit-image's to 1e-4 where no stain is negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor

from napari_sdmae.config.pretrain import AugmentationConfig
from napari_sdmae.data.batches.crops import random_boxes
from napari_sdmae.rng import CROP, FLIP, STAIN, uniforms

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """Uniform numbers in [0, 1) for each tile of a batch.

    Attributes
    ----------
    crop
        (B, 4): area, aspect ratio, row, column.
    flip
        (B, 3): left-right, up-down, quarter turns.
    stain
        (B, 3): haematoxylin, eosin, residual.
    """

    crop: Array
    flip: Array
    stain: Array

    def part(self, rows: slice) -> Draw:
        """Return the numbers of some of the tiles."""
        return Draw(self.crop[rows], self.flip[rows], self.stain[rows])


def draw_augmentation(seed: int, epoch: int, indices: NDArray[np.int64]) -> Draw:
    """Draw for the tiles `indices` (B,) of the data set in `epoch`; the same wherever and in whatever batch they are."""
    return Draw(
        uniforms(seed, epoch, indices, 4, CROP), uniforms(seed, epoch, indices, 3, FLIP), uniforms(seed, epoch, indices, 3, STAIN)
    )


def augment(tiles: Tensor, draw: Draw, config: AugmentationConfig, size: int, moved: Array | None = None) -> Tensor:
    """Crop, turn and stain a batch of tiles.

    Parameters
    ----------
    tiles
        uint8 RGB, (B, E, E, 3), on any device.
    draw
        Random numbers for these tiles.
    config
        What may be changed, and how much. Without crops, and with `size` equal to E, pixels are moved but not interpolated.
    size
        Edge S of the result, in px.
    moved
        By how many px each crop is moved before it is taken, (B, 2): rows and columns.

    Returns
    -------
    Tensor
        float32 in [0, 1], (B, 3, S, S).
    """
    few = 2 * torch.get_num_threads()
    if tiles.device.type != "cpu" or len(tiles) <= few:
        return _augment(tiles, draw, config, size, moved)
    result = torch.empty(len(tiles), 3, size, size)
    for start in range(0, len(tiles), few):  # pieces stay in the processor's cache: about twice as fast
        part = slice(start, start + few)
        result[part] = _augment(tiles[part], draw.part(part), config, size, None if moved is None else moved[part])
    return result


def _augment(tiles: Tensor, draw: Draw, config: AugmentationConfig, size: int, moved: Array | None) -> Tensor:
    edge = tiles.shape[1]
    whole, turns = placement(draw, config, edge)
    boxes: Array = whole.astype(float)
    if moved is not None:
        boxes[:, :2] += moved
    pixels = tiles.permute(0, 3, 1, 2).float()
    if size == edge and config.crop_scale[0] == 1:
        images = _sample(pixels, boxes, turns, size, "nearest")
    else:
        images = _sample_smoothed(pixels, boxes, turns, size)
    images = images / 255
    return jitter_stain(images, 1 + config.stain_jitter * (2 * draw.stain - 1)) if config.stain_jitter else images


def augment_maps(maps: Tensor, draw: Draw, config: AugmentationConfig, size: int, mode: Literal["nearest", "bilinear"]) -> Tensor:
    """Move maps, such as labels, as :func:`augment` moves the tiles they belong to.

    Parameters
    ----------
    maps
        float32, (B, C, E, E): whole numbers up to 2**24 stay exact with ``nearest``.
    draw, config, size
        As for the tiles.
    mode
        How to read between pixels.
    """
    boxes, turns = placement(draw, config, maps.shape[2])
    return _sample(maps, boxes.astype(float), turns, size, mode)


def placement(draw: Draw, config: AugmentationConfig, edge: int) -> tuple[NDArray[np.int64], Array]:
    """Return what is shown of tiles of `edge` px, and how it is turned.

    Returns
    -------
    boxes
        int64 (B, 4): row, column, height, width in px.
    turns
        (B, 2, 2), of 0 and ±1, from (x, y) in the result to (x, y) in the crop, both from the centre.
    """
    return random_boxes(draw.crop, config.crop_scale, config.crop_ratio, edge), _turns(draw.flip, config)


def _turns(flip: Array, config: AugmentationConfig) -> Array:
    """Return the matrices (B, 2, 2), of 0 and ±1, from (x, y) in the result to (x, y) in the crop.

    They flip the crop first and then turn it counter-clockwise, as ``np.rot90`` does.
    """
    signs = np.where(flip[:, :2] < 0.5, -1.0, 1.0) if config.flip else np.ones((len(flip), 2))
    quarters = (4 * flip[:, 2]).astype(int) if config.rotate90 else np.zeros(len(flip), int)
    turned = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]], float)
    result: Array = signs[:, :, None] * turned[quarters]
    return result


def _sample_smoothed(pixels: Tensor, boxes: Array, turns: Array, size: int) -> Tensor:
    """Sample bilinearly; crops at least twice as large as the result are first halved, by area, as often as that is so."""
    halvings = np.log2(boxes[:, 2:].max(axis=1) / size).clip(min=0).astype(int)
    if not halvings.any():
        return _sample(pixels, boxes, turns, size, "bilinear")
    result = pixels.new_empty(len(pixels), 3, size, size)
    for halving in np.unique(halvings):
        chosen = np.flatnonzero(halvings == halving)
        rows = _to(torch.from_numpy(chosen), pixels.device)
        smooth = F.avg_pool2d(pixels.index_select(0, rows), 2 ** int(halving)) if halving else pixels.index_select(0, rows)
        result.index_copy_(0, rows, _sample(smooth, boxes[chosen] / 2**halving, turns[chosen], size, "bilinear"))
    return result


def _sample(pixels: Tensor, boxes: Array, turns: Array, size: int, mode: str) -> Tensor:
    """Sample boxes (B, 4: row, column, height, width in px) of `pixels` (B, 3, E, E), turned; returns (B, 3, S, S)."""
    edges = np.array(pixels.shape[:1:-1], float)  # width, height, in the order of x and y
    extent = boxes[:, :1:-1] / edges
    centre = (2 * boxes[:, 1::-1] + boxes[:, :1:-1]) / edges - 1
    affine = np.concatenate([extent[:, :, None] * turns, centre[:, :, None]], axis=2).astype(np.float32)
    theta = _to(torch.from_numpy(affine), pixels.device)
    steps = (torch.arange(size, device=pixels.device, dtype=torch.float32) + 0.5) * (2 / size) - 1
    along_x = theta[:, None, None, :, 0] * steps[None, None, :, None]
    along_y = theta[:, None, None, :, 1] * steps[None, :, None, None]
    grid = along_x + (along_y + theta[:, None, None, :, 2])  # elementwise: a batch of one gives the same bits, unlike a matmul
    if pixels.device.type == "mps":
        return F.grid_sample(pixels, to_border(grid, pixels.shape[2]), mode=mode, padding_mode="zeros", align_corners=False)
    return F.grid_sample(pixels, grid, mode=mode, padding_mode="border", align_corners=False)


def to_border(grid: Tensor, edge: int) -> Tensor:
    """Return places (…, 2) in [-1, 1] with those outside moved to the middle of the nearest pixel of a square of `edge` px.

    Sampled there the border goes on outside; PyTorch before 2.13 has no such padding on Apple GPUs.
    """
    return grid.clamp(1 / edge - 1, 1 - 1 / edge)


def jitter_stain(images: Tensor, strength: Array) -> Tensor:
    """Multiply the haematoxylin, eosin and residual of `images` (Ruifrok and Johnston 2001, as in scikit-image).

    In optical density the change is linear: rgb → stains, times `strength`, → rgb is one 3 × 3 matrix per image. White stays
    white. Unlike ``skimage.color.rgb2hed``, negative stains are kept, so that a strength of 1 changes nothing.

    Parameters
    ----------
    images
        RGB in [0, 1], (B, 3, H, W).
    strength
        (B, 3) factors.
    """
    stains_to_density, density_to_stains = np.asarray(rgb_from_hed, float), np.asarray(hed_from_rgb, float)
    mixing = (density_to_stains * strength[:, None, :]) @ stains_to_density
    matrix = _to(torch.from_numpy(mixing.astype(np.float32)), images.device)[..., None, None]
    density = -images.clamp(1 / 255, 1).log()
    changed = density[:, 0:1] * matrix[:, 0] + density[:, 1:2] * matrix[:, 1] + density[:, 2:3] * matrix[:, 2]
    return (-changed).exp().clamp(0, 1)


def _to(values: Tensor, device: torch.device) -> Tensor:
    """Copy to the device without waiting for it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
