"""One step of pre-training: tiles, crops and masks in, losses out. All that a step depends on is a function of its number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.config import Precision, PretrainConfig
from napari_sdmae.data.augment import augment, draw_augmentation
from napari_sdmae.data.cache import TileCache
from napari_sdmae.data.loading import TileLoader
from napari_sdmae.io.checkpoints import save_model
from napari_sdmae.losses import SDMAELoss, SDMAELosses
from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.masking import compared_patches, masked_count, random_mask
from napari_sdmae.models.sdmae import SDMAE, freeze_unused
from napari_sdmae.randomness import COMPARE, MASK, uniforms
from napari_sdmae.training.devices import World
from napari_sdmae.training.optim import build_optimizer
from napari_sdmae.training.precision import autocast
from napari_sdmae.training.schedules import Schedule
from napari_sdmae.training.stepping import GradientEngine, Kept, OutOfMemory

__all__ = ["Engine", "OutOfMemory"]

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
        world: World,
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
        self.loader = TileLoader(cache, world.device)
        self.masked = masked_count(config.mask_ratio, config.model.grid**2)
        self._begin()

    def _losses(self, step: int, indices: NDArray[np.int64], following: NDArray[np.int64], last: bool) -> SDMAELosses:
        """Return the losses of one part of the batch; everything random depends on (seed, epoch, index) only."""
        config, epoch = self.config, step // self.schedule.steps_per_epoch
        tiles = self.loader.batch(indices, following)
        views = [epoch * config.loss.views + view for view in range(config.loss.views)]
        images = self.model.normalise(torch.cat([self._shown(tiles, view, indices) for view in views]))
        masks = [self._mask(view, indices) for view in views]
        compared = self._compared(views, masks, indices) if config.loss.views == 2 else None
        mask, per_token, heads = self._on_device(np.concatenate(masks)), config.loss.target == "token", config.loss.p > 0
        with autocast(self.world.device, self.precision):
            output = self.module(images, mask, masked=self.masked, per_token=per_token, heads=heads, compared=compared)
        losses: SDMAELosses = self.loss(output, images, mask, self.schedule.epoch(step), update_centre=last)
        return losses

    def _shown(self, tiles: Tensor, view: int, indices: NDArray[np.int64]) -> Tensor:
        """Return one random view of each tile, [0, 1] RGB (B, 3, S, S); `view` counts those of a tile over all epochs.

        Where patches are compared, both views of a step are the same crop and differ in stain and mask only.
        """
        config = self.config
        drawn = draw_augmentation(config.seed, view, indices)
        if config.loss.compares_patches and view % config.loss.views:
            first = draw_augmentation(config.seed, view - view % config.loss.views, indices)
            drawn = replace(drawn, crop=first.crop, flip=first.flip)
        return augment(tiles, drawn, config.augmentation, config.model.tile_size)

    def masks(self, view: int, indices: NDArray[np.int64]) -> Tensor:
        """Return the masks of the tiles `indices`, bool (B, L) on the device."""
        return self._on_device(self._mask(view, indices))

    def _mask(self, view: int, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return random_mask(uniforms(self.config.seed, view, indices, self.config.model.grid**2, MASK), self.config.mask_ratio)

    def _compared(self, views: list[int], masks: list[NDArray[np.bool_]], indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return the patches of each view that have a student, (2B, K), and those that have a teacher: the other view's."""
        patches = self.config.model.grid**2
        count = min(self.config.loss.compared_patches, patches - self.masked) if self.config.loss.compares_patches else 0
        chosen = [
            compared_patches(uniforms(self.config.seed, view, indices, patches, COMPARE), other, ~mask, count)
            for view, mask, other in zip(views, masks, reversed(masks), strict=True)
        ]
        return self._on_device(np.concatenate(chosen)), self._on_device(np.concatenate(chosen[::-1]))

    def _on_device(self, values: NDArray[Any]) -> Tensor:
        """Copy to the device without waiting for it."""
        tensor = torch.from_numpy(values)
        return (tensor.pin_memory() if self.world.device.type == "cuda" else tensor).to(self.world.device, non_blocking=True)

    def _named(self, losses: SDMAELosses) -> Mapping[str, Tensor]:
        """Return total, reconstruction, distillation and the diagnostics."""
        return {
            "total": losses.total,
            "reconstruction": losses.reconstruction,
            "distillation": losses.distillation,
            **losses.diagnostics,
        }

    def _put_back(self, kept: Kept) -> None:
        """Undo what the parts of a step that failed changed, also what the centre was still to take up."""
        super()._put_back(kept)
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
