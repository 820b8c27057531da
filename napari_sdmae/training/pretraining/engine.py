"""One step of pre-training: tiles, crops and masks in, losses out. All that a step depends on is a function of its number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.config.base import Precision
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.batches.tile_loader import TileLoader
from napari_sdmae.data.tiles.cache import TileCache
from napari_sdmae.devices.precision import autocast
from napari_sdmae.io.checkpoints.load import save_model
from napari_sdmae.losses.sdmae import SDMAELoss, SDMAELosses
from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.masking import num_masked
from napari_sdmae.models.memory_estimate import training_memory
from napari_sdmae.models.sdmae import SDMAE, freeze_unused
from napari_sdmae.training.loop.engine import GradientEngine, OutOfMemoryError, StepSnapshot
from napari_sdmae.training.loop.optim import build_optimizer
from napari_sdmae.training.loop.processes import Processes
from napari_sdmae.training.loop.schedules import Schedule
from napari_sdmae.training.pretraining.views import make_views

__all__ = ["Engine", "OutOfMemoryError"]

FEWEST_IMAGES = 8
"""Image targets in one part of a batch from which the measures of a collapse can be read."""


class Engine(GradientEngine[PretrainConfig, SDMAE, SDMAELosses]):
    """Model, loss, optimizer and tiles of one process.

    Parameters
    ----------
    config
        The run's settings.
    cache
        The decoded tiles.
    schedule
        Which tiles, and which learning rate, at each step.
    world
        The processes of the run, and the device.
    precision
        ``fp32`` or ``bf16``.
    metadata
        What the saved model says about itself beside its settings.
    """

    loss: SDMAELoss

    def __init__(
        self,
        config: PretrainConfig,
        cache: TileCache,
        schedule: Schedule,
        world: Processes,
        precision: Precision,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.config, self.schedule, self.world, self.precision = config, schedule, world, precision
        self.metadata = metadata or {}
        torch.manual_seed(config.seed)
        self.model = SDMAE(config.model)
        freeze_unused(self.model, config.loss)
        set_attention(self.model, explicit=world.device.type == "cpu")
        self.module = world.fabric.setup_module(self.model)
        self.loss = SDMAELoss(config.loss, config.model.head_outputs, config.model.mean, config.model.std).to(world.device)
        self.optimizer = build_optimizer(self.model, config.optimizer)
        self.loader = TileLoader(cache, world.device, needed=self._memory() if world.device.type == "cuda" else 0)
        self.masked = num_masked(config.mask_ratio, config.model.grid**2)
        self._begin()

    def _memory(self) -> int:
        """Return the bytes that training needs on this process's GPU, as estimated, beside the tiles."""
        share = self.schedule.batch // self.world.size
        return training_memory(self.config, explicit=False, bf16=self.precision == "bf16", tiles=share).total

    def _losses(self, step: int, indices: NDArray[np.int64], following: NDArray[np.int64], last: bool) -> SDMAELosses:
        """Return the losses of one part of the batch; everything random depends on (seed, epoch, index) only."""
        config, epoch = self.config, step // self.schedule.steps_per_epoch
        tiles = self.loader.batch(indices, following)
        shown = make_views(tiles, indices, epoch, config)
        images = self.model.normalise(shown.images)
        per_token, heads = config.loss.target == "token", config.loss.p > 0
        with autocast(self.world.device, self.precision):
            output = self.module(
                images, shown.mask, masked=self.masked, per_token=per_token, heads=heads, pair_indices=shown.pair_indices
            )
        losses: SDMAELosses = self.loss(output, images, shown.mask, self.schedule.epoch(step), update_centre=last)
        return losses

    def _named(self, losses: SDMAELosses) -> Mapping[str, Tensor]:
        """Return total, reconstruction, distillation and the diagnostics."""
        return {
            "total": losses.total,
            "reconstruction": losses.reconstruction,
            "distillation": losses.distillation,
            **losses.diagnostics,
        }

    def _restore(self, kept: StepSnapshot) -> None:
        """Undo what the parts of a step that failed changed, also what the centre was still to take up."""
        super()._restore(kept)
        self.loss.reset_pending()

    def _in_parts(self) -> str:
        """Return what accumulation changes beside the time, in words, or nothing."""
        loss = self.config.loss
        if loss.p > 0 and loss.distance == "contrast":
            return ". A tile is then compared with those of its own part only: the loss changes"
        if loss.p == 0 or loss.distance != "cross_entropy" or loss.centring != "sinkhorn":
            return ""
        return ". Sinkhorn targets and the diagnostics are computed in each part by itself: the loss changes slightly"

    def measures_collapse(self) -> bool:
        """Return whether the diagnostics mean anything: among fewer than 8 images' targets all look alike by chance."""
        share = self.schedule.batch // self.world.size
        smallest = share % self.micro_batch or self.micro_batch
        return self.config.loss.target != "image" or smallest >= FEWEST_IMAGES

    def save(self, folder: Path) -> None:
        """Write the model's files into `folder`."""
        save_model(folder, self.model, metadata=self.metadata)
