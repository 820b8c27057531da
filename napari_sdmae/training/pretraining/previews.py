"""Probe tiles: what the model makes of the same few tiles, epoch after epoch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.data.tiles.cache import TileCache
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.models.reconstruction import reconstruct_tiles
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.training.loop.sheet import sheet
from napari_sdmae.training.pretraining.engine import Engine
from napari_sdmae.training.pretraining.views import masks, on_device


class Previewer:
    """Reconstructs the probe tiles, evenly spread over the cache, always under the same masks (those of epoch 0)."""

    def __init__(self, engine: Engine, cache: TileCache) -> None:
        count = min(engine.config.preview_tiles, len(cache.tiles))
        indices = np.linspace(0, len(cache.tiles) - 1, count).round().astype(np.int64)
        self._engine = engine
        tiles = torch.from_numpy(np.stack([cache.tiles[index] for index in indices]))
        self._tiles = resized(tiles, engine.config.model.tile_size)
        self._mask = on_device(masks(indices, 0, engine.config), engine.world.device)

    def write(self, folder: RunFolder, epoch: int) -> Path:
        """Write ``epoch-000003.npz`` (arrays input, masked, reconstruction, error) and a contact sheet; return the former."""
        tiles = self._tiles.to(self._engine.world.device)
        normalisation = self._engine.config.loss.target_normalisation
        result = reconstruct_tiles(self._engine.model, tiles, self._mask, normalisation, self._engine.masked)
        arrays = {
            "input": self._tiles.numpy(),
            "masked": result.masked.cpu().numpy(),
            "reconstruction": result.reconstruction.cpu().numpy(),
            "error": result.error.float().cpu().numpy(),
        }
        folder.previews_folder.mkdir(exist_ok=True)
        path = folder.previews_folder / f"epoch-{epoch:06d}.npz"
        write_atomically(path.with_suffix(".png"), contact_sheet(arrays))
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        write_atomically(path, buffer.getvalue())
        return path


def resized(tiles: Tensor, size: int) -> Tensor:
    """Return uint8 tiles (N, E, E, 3) at the edge `size` of the model."""
    if tiles.shape[1] == size:
        return tiles
    scaled = F.interpolate(tiles.movedim(-1, 1).float(), (size, size), mode="bilinear", antialias=True)
    return scaled.clamp(0, 255).round().to(torch.uint8).movedim(1, -1).contiguous()


def contact_sheet(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """Return a PNG: one row per tile; columns input, masked, reconstruction, and twice the error in grey."""
    error = (np.clip(2 * arrays["error"].astype(np.float32), 0, 1) * 255).round().astype(np.uint8)
    columns = [arrays["input"], arrays["masked"], arrays["reconstruction"], np.repeat(error[..., None], 3, axis=-1)]
    return sheet([column.astype(np.uint8) for column in columns])
