"""One step of fine-tuning: labelled tiles in, losses out; or, for nearest neighbours, features into the bank."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sdmae.config.base import Precision
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.devices.precision import autocast
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.losses.heads import HeadLoss, HeadLosses
from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.heads.classification import NearestNeighbours
from napari_sdmae.models.heads.head_model import HeadModel, parameter_groups, set_trainable
from napari_sdmae.training.finetuning.loader import HeadLoader
from napari_sdmae.training.loop.engine import GradientEngine, SteppingEngine
from napari_sdmae.training.loop.processes import Processes
from napari_sdmae.training.loop.schedules import Schedule


class HeadEngine(GradientEngine[FinetuneConfig, HeadModel, HeadLosses]):
    """Model, loss, optimizer and labelled tiles of one process.

    Parameters
    ----------
    config
        The run's settings.
    model
        The new head.
    tiles
        The training tiles.
    schedule
        Which tiles, and which learning rate, at each step.
    world
        The processes of the run, and the device.
    precision
        ``fp32`` or ``bf16``.
    """

    def __init__(
        self,
        config: FinetuneConfig,
        model: HeadModel,
        tiles: LabelledTiles,
        schedule: Schedule,
        world: Processes,
        precision: Precision,
    ) -> None:
        self.config, self.schedule, self.world, self.precision = config, schedule, world, precision
        self.model = model.train()
        set_trainable(model, config.encoder, config.head)
        set_attention(model, explicit=world.device.type == "cpu")
        self.module = world.fabric.setup_module(model)
        weights = tiles.class_weights()
        equal = len(set(weights)) == 1
        self.loss = HeadLoss(model.spec, None if equal else weights, config.augmentation.label_smoothing).to(world.device)
        self.optimizer = build_head_optimizer(model, config)
        self.loader = HeadLoader(tiles, world.device)
        self._begin()

    def _losses(self, step: int, indices: NDArray[np.int64], following: NDArray[np.int64], last: bool) -> HeadLosses:
        """Return the losses of one part of the batch; everything random depends on (seed, epoch, index) only."""
        steps = self.schedule.steps_per_epoch
        images, targets = self.loader.batch(step // steps, indices, ((step + last) // steps, following))
        with autocast(self.world.device, self.precision):
            normalised = self.model.normalise(images)
            output = self.module(normalised, targets) if self.config.task == "detection" else self.module(normalised)
        losses: HeadLosses = self.loss(output, targets)
        return losses

    def _named(self, losses: HeadLosses) -> Mapping[str, Tensor]:
        """Return the total and its terms."""
        return {"total": losses.total, **losses.parts}

    def _in_parts(self) -> str:
        """Describe how gradient accumulation changes the loss."""
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.model.head.modules()):
            return ". BatchNorm sees the tiles of each part by itself: the loss changes slightly"
        if self.config.task != "classification" or self.loss.weights is not None:
            return ". The losses of the parts are averaged: that differs slightly from the loss of the whole batch"
        return ""

    def save(self, folder: Path) -> None:
        """Write the head's files into `folder`."""
        save_head(folder, self.model)


def build_head_optimizer(model: HeadModel, config: FinetuneConfig) -> torch.optim.AdamW:
    """Return AdamW over what is trained, in groups whose rate falls with their distance from the head."""
    groups = parameter_groups(model, config.encoder, config.optimizer.weight_decay)
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=config.optimizer.base_lr, betas=config.optimizer.betas, fused=fused)


class SinglePass(Schedule):
    """Each tile once, in the order of the images."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps until the last tile; its batch may be smaller."""
        return -(-self.tiles // self.batch)

    def indices(self, step: int) -> NDArray[np.int64]:
        """Return the tiles of step `step`, shape (batch,) or less; none after the last."""
        return np.arange(self.tiles, dtype=np.int64)[step * self.batch : (step + 1) * self.batch]


class KNNEngine(SteppingEngine[FinetuneConfig, HeadModel]):
    """Fills the bank of a nearest-neighbour head, one batch of tiles per step; nothing is trained. Parameters as above."""

    def __init__(
        self,
        config: FinetuneConfig,
        model: HeadModel,
        tiles: LabelledTiles,
        schedule: Schedule,
        world: Processes,
        precision: Precision,
    ) -> None:
        if world.size > 1:
            raise ValueError("head.classifier knn looks at each tile once and runs in one process; start it without torchrun")
        self.config, self.schedule, self.world, self.precision = config, schedule, world, precision
        self.model = model.eval().to(world.device)
        set_trainable(model, config.encoder, config.head)
        set_attention(model, explicit=world.device.type == "cpu")
        self.loader = HeadLoader(tiles, world.device, augmented=False)
        self._features: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._begin()

    @property
    def head(self) -> NearestNeighbours:
        """The bank."""
        assert isinstance(self.model.head, NearestNeighbours)
        return self.model.head

    def _try_step(self, step: int) -> Tensor:
        """Add the features of a batch, and let the head know them."""
        parts = [self._pooled(part) for part in self._parts(step)]
        features, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        self.head.extend(features, labels)
        self._features.append(features)
        self._labels.append(labels)
        return torch.zeros(0, device=self.world.device)

    def _pooled(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, labels = self.loader.batch(0, indices)
        with torch.inference_mode(), autocast(self.world.device, self.precision):
            features = self.model.pooled(self.model.normalise(images)).float()
        return features.clone(), labels

    def tensors(self) -> dict[str, Tensor]:
        """Return the features as they came, of which the head keeps the directions, and their labels."""
        return {"bank.features": torch.cat(self._features), "bank.labels": torch.cat(self._labels)} if self._features else {}

    def restore(self, model: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
        """Take over the bank of a checkpoint; RuntimeError if it does not fit this model."""
        self.head.reserve(len(model["head.labels"]))
        self.model.load_state_dict(model)
        features, labels = (tensors[name].to(self.world.device) for name in ("bank.features", "bank.labels"))
        self._features, self._labels = [features], [labels]

    def save(self, folder: Path) -> None:
        """Write the head's files into `folder`."""
        save_head(folder, self.model)
