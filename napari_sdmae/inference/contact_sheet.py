"""A few tiles as training would see them: augmented and masked, from a few images of the folder."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.batches.augment import augment, draw_augmentation
from napari_sdmae.data.image_folder import DataError, SourceFile, find_images, read_headers, survey, which
from napari_sdmae.data.tiles.grid import cut
from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.models import random_mask
from napari_sdmae.models.reconstruction import MASKED_GREY
from napari_sdmae.rng import MASK, permutation, uniforms
from napari_sdmae.runs.preflight import ContactSheet

SAMPLE = 64
"""Images whose headers are read to find the tile size; of large folders every n-th."""


def draw_contact_sheet(config: PretrainConfig, count: int | None = None, seed: int | None = None) -> ContactSheet:
    """Draw tiles, augment and mask them with the settings of a run.

    Parameters
    ----------
    config
        The settings; only a few images of its folder are decoded.
    count
        Number of tiles; None: as many as the run previews. Fewer if there are not so many.
    seed
        Another seed draws other tiles, crops and masks; None: the run's.

    Raises
    ------
    DataError
        If there is no folder, no image or no tissue in it.
    """
    seed = config.seed if seed is None else seed
    tiles, files = _some_tiles(config, config.preview_tiles if count is None else count, seed)
    size, grid = config.model.tile_size, config.model.grid
    index = np.arange(len(tiles))
    seen = augment(torch.from_numpy(tiles), draw_augmentation(seed, 0, index), config.augmentation, size)
    pixels = (seen * 255).round().to(torch.uint8).movedim(1, -1).contiguous().numpy()
    mask = random_mask(uniforms(seed, 0, index, grid * grid, MASK), config.mask_ratio).reshape(-1, grid, grid)
    hidden = mask.repeat(config.model.patch_size, axis=1).repeat(config.model.patch_size, axis=2)
    masked = np.where(hidden[..., None], np.uint8(MASKED_GREY), pixels)
    return ContactSheet(pixels, masked, mask, tuple(files), size, config.model.patch_size)


def _some_tiles(config: PretrainConfig, count: int, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Return `count` tiles (N, E, E, 3) with the names of their images: one of each image, or more if there are few images."""
    images = find_images(config.data, config.tiles.leave_out)
    edge = survey(read_headers(images[:: -(-len(images) // SAMPLE)], which(config.tiles)), config.tiles).edge
    each = -(-count // len(images))
    found: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for number in permutation(seed, 0, len(images)):
        tiles = _tiles_of(images[number], edge, config)
        some = tiles[permutation(seed, int(number), len(tiles))[:each]]
        found += list(some)
        names += [images[number].name] * len(some)
        if len(found) >= count:
            break
    if not found:
        raise DataError(f"no tile with tissue in {config.data}; look at sdmae inspect, or switch off the tissue filter")
    return np.stack(found[:count]), names[:count]


def _tiles_of(image: SourceFile, edge: int, config: PretrainConfig) -> NDArray[np.uint8]:
    """Return all tiles of an image, none if it cannot be used: the inspection says why."""
    try:
        return np.concatenate([tiles for tiles, _ in cut(image.path, edge, config.tiles)])
    except InvalidImageError:
        return np.zeros((0, edge, edge, 3), np.uint8)
