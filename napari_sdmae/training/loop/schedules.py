"""Learning rate and data order: pure functions of the step, so that nothing has to be saved to resume them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.rng import permutation


@dataclass(frozen=True)
class Schedule:
    """Where a run stands at each step.

    Attributes
    ----------
    tiles, batch, epochs
        Tiles in the data, tiles per step, passes over the data. The tiles left over by the last whole batch
        of an epoch are dropped; as the order changes with the epoch, others are dropped next time.
    peak_lr, min_lr
        Learning rate after the warm-up and at the last step.
    warmup_epochs
        Length of the linear warm-up.
    seed
        Seed of the order.
    """

    tiles: int
    batch: int
    epochs: int
    peak_lr: float
    min_lr: float
    warmup_epochs: float
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return self.tiles // self.batch

    @property
    def total_steps(self) -> int:
        """Optimizer steps in the whole run."""
        return self.steps_per_epoch * self.epochs

    def epoch(self, step: int) -> float:
        """Return the epochs done after `step` steps; whole numbers exactly at the end of an epoch."""
        return step // self.steps_per_epoch + step % self.steps_per_epoch / self.steps_per_epoch

    def learning_rate(self, step: int) -> float:
        """Return the rate of step `step` (0-based): linear warm-up, then a cosine that reaches `min_lr` at the last step."""
        warmup = round(self.warmup_epochs * self.steps_per_epoch)
        if step < warmup:
            return self.peak_lr * (step + 1) / warmup
        progress = (step + 1 - warmup) / (self.total_steps - warmup)
        return self.min_lr + (self.peak_lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))

    def indices(self, step: int) -> NDArray[np.int64]:
        """Return the tiles of step `step`, shape (batch,): a slice of the epoch's own permutation."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return _order(self.seed, epoch, self.tiles)[position * self.batch : (position + 1) * self.batch]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, tiles: int) -> NDArray[np.int64]:
    """Return the order of an epoch, kept until the next one."""
    return permutation(seed, epoch, tiles)
