"""Changes of images that only classification uses: brightness for all, RandAugment, random erasing, mixup and CutMix.

Each is a function of (seed, epoch, index). The partner of a mixed tile is drawn from all tiles, not from its batch, so that a
batch can be cut into parts and given to several processes without changing anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri
from torch import Tensor
from torchvision.transforms.v2 import functional as change

from napari_sdmae.config.pretrain import IMAGENET_MEAN
from napari_sdmae.rng import ERASE, LIGHT, MIX, POLICY, random_bits, uniforms

Key = tuple[int, int]
Indices = NDArray[np.int64]

OPERATIONS_PER_TILE = 2
PROBABILITY = 0.5
MAGNITUDE_SPREAD = 0.5
"""RandAugment as in the recipe ``rand-m9-mstd0.5-inc1`` of timm: two operations, each with probability 0.5, magnitudes of 0-10
with a standard deviation of 0.5."""
ERASED_AREA = (0.02, 1 / 3)
ERASED_RATIO = (0.3, 1 / 0.3)
"""Area, as fraction of the tile, and aspect ratio of what is erased (Zhong and others, AAAI 2020; as in timm)."""


def brighten(images: Tensor, strength: float, key: Key, draws: Indices) -> Tensor:
    """Multiply images (B, 3, H, W) in [0, 1] by a random factor from 1 - `strength` to 1 + `strength`."""
    if not strength:
        return images
    factors = 1 + strength * (2 * uniforms(*key, draws, 1, LIGHT)[:, 0] - 1)
    return (images * torch.from_numpy(factors.astype(np.float32))[:, None, None, None]).clamp(0, 1)


def rand_augment(images: Tensor, magnitude: int, key: Key, draws: Indices) -> Tensor:
    """Apply two random operations of RandAugment (Cubuk and others, 2020) to images (B, 3, H, W) in [0, 1], in place.

    Parameters
    ----------
    magnitude
        0 (off) to 10.
    """
    if not magnitude:
        return images
    numbers = uniforms(*key, draws, 4 * OPERATIONS_PER_TILE, POLICY).reshape(len(draws), OPERATIONS_PER_TILE, 4)
    for image, rows in zip(images, numbers, strict=True):
        _apply(image, rows, magnitude)
    return images


def _apply(image: Tensor, numbers: NDArray[np.float64], magnitude: int) -> None:
    """Apply to one image each operation that is drawn; `numbers` are (operation, whether, magnitude, sign) for each."""
    chosen = [row for row in numbers if row[1] < PROBABILITY]
    if not chosen:
        return
    pixels = (image * 255).round().to(torch.uint8)
    for which, _, spread, sign in chosen:
        level = float(np.clip(magnitude + MAGNITUDE_SPREAD * ndtri(max(spread, 1e-9)), 0, 10)) / 10
        pixels = OPERATIONS[int(which * len(OPERATIONS))](pixels, level, 1.0 if sign < 0.5 else -1.0)
    torch.div(pixels, 255, out=image)


Operation = Callable[[Tensor, float, float], Tensor]
FILL = [255 * value for value in IMAGENET_MEAN]


def _affine(
    image: Tensor, angle: float = 0.0, shear: tuple[float, float] = (0.0, 0.0), move: tuple[float, float] = (0, 0)
) -> Tensor:
    moved: Tensor = change.affine(
        image,
        angle=angle,
        translate=[move[0] * image.shape[-1], move[1] * image.shape[-2]],
        scale=1.0,
        shear=[float(np.degrees(np.arctan(value))) for value in shear],
        interpolation=change.InterpolationMode.BILINEAR,
        fill=FILL,
    )
    return moved


OPERATIONS: tuple[Operation, ...] = (
    lambda image, level, sign: change.autocontrast(image),
    lambda image, level, sign: change.equalize(image),
    lambda image, level, sign: change.invert(image),
    lambda image, level, sign: _affine(image, angle=30 * level * sign),
    lambda image, level, sign: change.posterize(image, 4 - int(4 * level) or 1),
    lambda image, level, sign: torch.where(image.int() < 256 - int(256 * level), image, 255 - image),  # solarize
    lambda image, level, sign: (
        torch.where(image < 128, image.int() + int(110 * level), image.int()).clamp(0, 255).to(torch.uint8)
    ),
    lambda image, level, sign: change.adjust_saturation(image, max(0.1, 1 + 0.9 * level * sign)),
    lambda image, level, sign: change.adjust_contrast(image, max(0.1, 1 + 0.9 * level * sign)),
    lambda image, level, sign: change.adjust_brightness(image, max(0.1, 1 + 0.9 * level * sign)),
    lambda image, level, sign: change.adjust_sharpness(image, max(0.1, 1 + 0.9 * level * sign)),
    lambda image, level, sign: _affine(image, shear=(0.3 * level * sign, 0.0)),
    lambda image, level, sign: _affine(image, shear=(0.0, 0.3 * level * sign)),
    lambda image, level, sign: _affine(image, move=(0.45 * level * sign, 0.0)),
    lambda image, level, sign: _affine(image, move=(0.0, 0.45 * level * sign)),
)
"""The fifteen operations of timm's recipe, on uint8 (3, H, W), with a level of 0-1 and a sign."""


def erase(images: Tensor, probability: float, key: Key, draws: Indices) -> Tensor:
    """Fill, with `probability`, one random rectangle of each image (B, 3, H, W) in [0, 1] with noise, in place."""
    if not probability:
        return images
    size = np.array(images.shape[2:])
    for image, index, (whether, area, ratio, row, column) in zip(images, draws, uniforms(*key, draws, 5, ERASE), strict=True):
        if whether < probability:
            pixels = (ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0])) * size.prod()
            shape = np.exp(np.log(ERASED_RATIO[0]) + ratio * np.log(ERASED_RATIO[1] / ERASED_RATIO[0]))
            sides = np.clip(np.rint(np.sqrt(pixels * np.array([shape, 1 / shape]))), 1, size).astype(int)
            top, left = np.floor(np.array([row, column]) * (size - sides + 1)).astype(int)
            image[:, top : top + sides[0], left : left + sides[1]] = _noise(key, int(index), tuple(sides))
    return images


def _noise(key: Key, index: int, size: tuple[int, int]) -> Tensor:
    """Return uniform noise in [0, 1], (3, *size); the rectangle's own numbers begin after those that place it."""
    count = 3 * size[0] * size[1]
    words = random_bits(*key, np.array([index]), 5 + (count + 7) // 8, ERASE)[0, 5:]
    values = words.view(np.uint8)[:count].reshape(3, *size)
    return torch.from_numpy(values.astype(np.float32) / 255)


@dataclass(frozen=True)
class Mixing:
    """How tiles are mixed.

    Attributes
    ----------
    partners
        Index of the other tile of each, int64 (B,).
    share
        Share of the tile itself in the mixture, float64 (B,).
    boxes
        int64 (B, 4): upper, left, lower, right edge in px of what CutMix takes from the partner; all 0 where mixup mixes.
    """

    partners: Indices
    share: NDArray[np.float64]
    boxes: NDArray[np.int64]


def draw_mixing(key: Key, draws: Indices, tiles: int, mixup: float, cutmix: float, edge: int) -> Mixing:
    """Draw partners, shares from Beta(α, α), and for CutMix boxes; with both, each tile is mixed by one of them, at even odds.

    Parameters
    ----------
    tiles
        Number of tiles that partners are drawn from.
    mixup, cutmix
        α of each (Zhang and others, 2018; Yun and others, 2019); 0 is off.
    edge
        Edge of the tiles, in px.
    """
    switch, quantile, partner, row, column = uniforms(*key, draws, 5, MIX).T
    cuts = (switch < 0.5) if mixup and cutmix else np.full(len(draws), bool(cutmix))
    alpha = np.where(cuts, cutmix, mixup)
    share = betaincinv(alpha, alpha, quantile)
    half = np.sqrt(1 - share) * edge / 2
    middle = np.stack([row, column], axis=1) * edge
    boxes = (
        np.concatenate([middle - half[:, None], middle + half[:, None]], axis=1).clip(0, edge).astype(np.int64) * cuts[:, None]
    )
    taken = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / edge**2
    return Mixing(np.floor(partner * tiles).astype(np.int64), np.where(cuts, 1 - taken, share), boxes)


def mix(images: Tensor, others: Tensor, how: Mixing) -> Tensor:
    """Mix images (B, 3, H, W) with those of their partners, tile by tile and in place: large copies cost more than the mixing."""
    for image, other, share, box in zip(images, others, how.share.tolist(), how.boxes.tolist(), strict=True):
        top, left, bottom, right = box
        if any(box):
            image[:, top:bottom, left:right] = other[:, top:bottom, left:right]
        elif share < 1:
            image.lerp_(other, 1 - share)
    return images


def mix_targets(labels: Tensor, others: Tensor, how: Mixing, classes: int) -> Tensor:
    """Return the shares of the classes, float32 (B, `classes`), of tiles with the class indices `labels` and `others`, (B,)."""
    share = torch.from_numpy(how.share.astype(np.float32))[:, None]
    one_hot = torch.nn.functional.one_hot
    return one_hot(labels, classes) * share + one_hot(others, classes) * (1 - share)
