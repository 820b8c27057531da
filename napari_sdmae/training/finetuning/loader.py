"""Batches of labelled tiles on the device: which are drawn, and read ahead while the device works."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.data.batches.labelled_tiles import Batch, LabelledTiles
from napari_sdmae.rng import ORDER, uniforms

Indices = NDArray[np.int64]


class HeadLoader:
    """Hands out the batches of a run.

    Parameters
    ----------
    tiles
        The training tiles; their ``weights`` say how often each is drawn.
    device
        Where batches are wanted.
    augmented
        Whether tiles are changed at random.
    """

    def __init__(self, tiles: LabelledTiles, device: torch.device, *, augmented: bool = True) -> None:
        self.tiles, self.device, self.augmented = tiles, device, augmented
        self._weights = tiles.weights
        self._weighted = bool((self._weights != self._weights[0]).any())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tiles")
        self._coming: tuple[int, Indices, Future[Batch]] | None = None

    def batch(self, epoch: int, places: Indices, following: tuple[int, Indices] | None = None) -> tuple[Tensor, Any]:
        """Return images and targets on the device.

        Parameters
        ----------
        epoch
            For the random numbers.
        places
            Places in the epoch, each taken once; with weights another tile than of this number may be there.
        following
            Epoch and places that will be asked for next; they are read while the device works.
        """
        coming, self._coming = self._coming, None
        foreseen = coming is not None and coming[0] == epoch and np.array_equal(coming[1], places)
        batch = coming[2].result() if coming is not None and foreseen else self._read(epoch, places)
        if following is not None:
            self._coming = *following, self._thread.submit(self._read, *following)
        moved: tuple[Tensor, Any] = _each(tuple(batch), lambda one: one.to(self.device, non_blocking=True))
        return moved

    def _read(self, epoch: int, places: Indices) -> Batch:
        """Return a batch in memory that a GPU can fetch from by itself."""
        drawn, draws = (self._drawn(epoch)[places], places) if self._weighted else (places, None)
        batch = self.tiles.batch(drawn, epoch, self.augmented, draws=draws)
        return Batch(*_each(tuple(batch), Tensor.pin_memory)) if self.device.type == "cuda" else batch

    @lru_cache(maxsize=2)  # noqa: B019 a loader lives as long as its run
    def _drawn(self, epoch: int) -> Indices:
        """Return the tile at each place of an epoch, drawn by weight; the numbers are other ones than those of the order."""
        share = np.cumsum(self._weights) / self._weights.sum()
        number = uniforms(self.tiles.config.seed, epoch, np.arange(len(share)), 2, ORDER)[:, 1]
        drawn: Indices = np.searchsorted(share, number, side="right").clip(max=len(share) - 1)
        return drawn


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return tensors, or dictionaries, lists and tuples of them, each changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _each(one, change) for name, one in value.items()}
    return type(value)(_each(one, change) for one in value)
