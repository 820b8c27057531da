"""What the model is shown in a step: crops, masks, and which patches are compared; all follows from seed, epoch, index."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.batches.augment import augment, draw_augmentation, placement
from napari_sdmae.data.batches.view_pairs import choose_patches, corresponding_patches, patch_shifts, turned_shifts
from napari_sdmae.models.masking import random_mask
from napari_sdmae.rng import COMPARE, MASK, SHIFT, uniforms

Indices = NDArray[np.int64]


class Views(NamedTuple):
    """Views of B tiles, one or two of each: all first ones, then all second ones.

    Attributes
    ----------
    images
        RGB in [0, 1], (B or 2B, 3, S, S).
    mask
        bool (…, L), True = masked.
    pair_indices
        Of two views: raster indices (2B, K) of the patches that have a student, and of those that have a teacher, which are what
        the other view's students show.
    """

    images: Tensor
    mask: Tensor
    pair_indices: tuple[Tensor, Tensor] | None


def make_views(tiles: Tensor, indices: Indices, epoch: int, config: PretrainConfig) -> Views:
    """Return the views of `tiles` (B, E, E, 3), uint8, in `epoch`; `indices` (B,) are their numbers in the data set."""
    if config.loss.views == 2:
        return _two_views(tiles, indices, epoch, config)
    draw = draw_augmentation(config.seed, epoch, indices)
    images = augment(tiles, draw, config.augmentation, config.model.tile_size)
    return Views(images, on_device(masks(indices, epoch, config), tiles.device), None)


def masks(indices: Indices, view: int, config: PretrainConfig) -> NDArray[np.bool_]:
    """Return the masks (B, L) of tiles; `view` counts the views of a tile over all epochs."""
    return random_mask(uniforms(config.seed, view, indices, config.model.grid**2, MASK), config.mask_ratio)


def _two_views(tiles: Tensor, indices: Indices, epoch: int, config: PretrainConfig) -> Views:
    """Return a crop, and the same moved by whole patches in another stain, each behind its own mask."""
    size, grid, edge, seed = config.model.tile_size, config.model.grid, tiles.shape[1], config.seed
    first, second = (draw_augmentation(seed, 2 * epoch + view, indices) for view in (0, 1))
    boxes, turns = placement(first, config.augmentation, edge)
    shifts = patch_shifts(uniforms(seed, epoch, indices, 2, SHIFT), boxes, grid, edge)
    both = [masks(indices, 2 * epoch + view, config) for view in (0, 1)]
    shifts, students, teachers = _compared(shifts, turns, both, indices, epoch, config)
    moved = replace(second, crop=first.crop, flip=first.flip)
    images = [
        augment(tiles, first, config.augmentation, size),
        augment(tiles, moved, config.augmentation, size, shifts * boxes[:, 2:] / grid),
    ]
    pair_indices = on_device(students, tiles.device), on_device(teachers, tiles.device)
    return Views(torch.cat(images), on_device(np.concatenate(both), tiles.device), pair_indices)


def _compared(
    shifts: Indices,
    turns: NDArray[np.float64],
    both: list[NDArray[np.bool_]],
    indices: Indices,
    epoch: int,
    config: PretrainConfig,
) -> tuple[Indices, Indices, Indices]:
    """Return shifts, and the compared patches (2B, K); a tile with too few visible patches in common is not moved."""
    grid = config.model.grid
    visible = int((~both[0][:1]).sum())  # of every tile as many
    count = min(config.loss.compared_patches, visible) if config.loss.target != "image" else 0
    there = _partners(turned_shifts(shifts, turns), grid)
    in_common = [(~mask & (other >= 0)).sum(1) for mask, other in zip(both, there, strict=True)]
    shifts = np.where((np.minimum(*in_common) < count)[:, None], 0, shifts)
    there = _partners(turned_shifts(shifts, turns), grid)
    chosen = [
        choose_patches(
            uniforms(config.seed, 2 * epoch + view, indices, grid**2, COMPARE), ~both[view] & (there[view] >= 0), count
        )
        for view in (0, 1)
    ]
    meant = [np.take_along_axis(other, patches, 1) for other, patches in zip(there, chosen, strict=True)]
    return shifts, np.concatenate(chosen), np.concatenate(meant[::-1])


def _partners(shifts: Indices, grid: int) -> tuple[Indices, Indices]:
    """Return where the patches of the first view are in the second, and those of the second in the first."""
    return corresponding_patches(shifts, grid), corresponding_patches(-shifts, grid)


def on_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """Copy to the device without waiting for it."""
    tensor = torch.from_numpy(values)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)
