"""Batches of tiles on the device, by index."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.data.tiles.cache import TileCache

DEVICE_SHARE = 0.4
"""Tiles are kept on a GPU if they take no more than this part of its free memory; the rest is for the model."""
UPLOAD_TILES = 4096


class TileLoader:
    """Hands out batches of tiles without waiting for the device.

    On a GPU with room for them, all tiles are kept there. Otherwise a batch is gathered from the cache, which the system keeps in
    memory as far as it can, and copied through page-locked memory; a batch announced as `following` is gathered meanwhile.

    Parameters
    ----------
    cache
        The tiles.
    device
        Where batches are wanted.
    share
        Part of the free GPU memory that the tiles may take; 0 never keeps them there.
    needed
        Bytes of GPU memory that the tiles have to leave free.
    """

    def __init__(self, cache: TileCache, device: torch.device, share: float = DEVICE_SHARE, needed: int = 0) -> None:
        self.device = torch.device(device)
        self._tiles = torch.from_numpy(cache.tiles)
        self.on_device = self.device.type == "cuda" and self._fit(share, needed)
        if self.on_device:
            self._tiles = _upload(self._tiles, self.device)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tiles")
        self._coming: tuple[NDArray[np.int64], Future[Tensor]] | None = None

    def batch(self, indices: NDArray[np.int64], following: NDArray[np.int64] | None = None) -> Tensor:
        """Return the tiles `indices` (B,), uint8 (B, E, E, 3) on the device.

        Parameters
        ----------
        indices
            Positions in the cache.
        following
            Indices that will be asked for next; they are read while the device works.
        """
        if self.on_device:
            chosen = torch.from_numpy(indices).pin_memory().to(self.device, non_blocking=True)
            return self._tiles.index_select(0, chosen)
        tiles = self._gathered(indices)
        if following is not None:
            self._coming = following, self._thread.submit(self._gather, following)
        return tiles.to(self.device, non_blocking=True)

    def _fit(self, share: float, needed: int) -> bool:
        """Return whether the tiles fit on the GPU beside what else is needed there."""
        free = int(torch.cuda.mem_get_info(self.device)[0])
        return self._tiles.nbytes <= min(share * free, free - needed)

    def _gathered(self, indices: NDArray[np.int64]) -> Tensor:
        coming, self._coming = self._coming, None
        if coming is not None and np.array_equal(coming[0], indices):
            return coming[1].result()
        return self._gather(indices)

    def _gather(self, indices: NDArray[np.int64]) -> Tensor:
        """Read from the cache into memory that a GPU can fetch from by itself."""
        out = torch.empty(len(indices), *self._tiles.shape[1:], dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        return torch.index_select(self._tiles, 0, torch.from_numpy(indices), out=out)


def _upload(tiles: Tensor, device: torch.device) -> Tensor:
    """Copy all tiles to `device` piece by piece, so that the pages read from the disk need not be in memory at once."""
    result = torch.empty_like(tiles, device=device)
    for start in range(0, len(tiles), UPLOAD_TILES):
        result[start : start + UPLOAD_TILES].copy_(tiles[start : start + UPLOAD_TILES])
    return result
