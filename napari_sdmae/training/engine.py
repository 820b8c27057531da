"""One optimizer step: tiles, crops and masks in, losses out. All that a step depends on is here or a function of its number."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.config import Precision, PretrainConfig
from napari_sdmae.data.augment import augment, draw_augmentation
from napari_sdmae.data.cache import TileCache
from napari_sdmae.data.loading import TileLoader
from napari_sdmae.losses import SDMAELoss, SDMAELosses
from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.masking import masked_count, random_mask
from napari_sdmae.models.sdmae import SDMAE, freeze_unused
from napari_sdmae.randomness import MASK, uniforms
from napari_sdmae.training.devices import World
from napari_sdmae.training.events import Warned
from napari_sdmae.training.optim import build_optimizer, set_learning_rate
from napari_sdmae.training.precision import autocast
from napari_sdmae.training.schedules import Schedule

FEWEST_IMAGES = 8
"""Image targets in one part of a batch from which the measures of a collapse can be read."""


class OutOfMemory(RuntimeError):
    """Not even one tile at a time fits; the message says what to do."""


class Engine:
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
    """

    def __init__(self, config: PretrainConfig, cache: TileCache, schedule: Schedule, world: World, precision: Precision) -> None:
        self.config, self.schedule, self.world, self.precision = config, schedule, world, precision
        torch.manual_seed(config.seed)
        self.model = SDMAE(config.model)
        freeze_unused(self.model, config.loss)
        set_attention(self.model, explicit=world.device.type == "cpu")
        self.module = world.fabric.setup_module(self.model)
        self.loss = SDMAELoss(config.loss, config.model.head_outputs, config.model.mean, config.model.std).to(world.device)
        self.optimizer = build_optimizer(self.model, config.optimizer)
        self.loader = TileLoader(cache, world.device)
        share = schedule.batch // world.size
        self.micro_batch = min(config.micro_batch or share, share)
        self.metric_names: tuple[str, ...] = ()
        self.warnings: list[Warned] = []

    def step(self, step: int) -> Tensor:
        """Do optimizer step `step` (0-based) and return its metrics, means over the batch of all processes.

        When memory runs out the step is done again in parts of half the size, whose gradients are accumulated.

        Raises
        ------
        OutOfMemory
            If one tile at a time is still too much, or if several processes train (the others would wait for ever).
        """
        while True:
            centre = {name: value.clone() for name, value in self.loss.state_dict().items()}
            try:
                return self._try_step(step)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0]
            self.loss.load_state_dict(centre)
            self.loss.reset_pending()
            self._halve(step, reason)

    def _try_step(self, step: int) -> Tensor:
        """Accumulate the gradients of all parts of the batch, then let the optimizer step."""
        torch.manual_seed(self.config.seed * 1_000_003 + step)
        self.optimizer.zero_grad(set_to_none=True)
        parts, share = self._parts(step), self.schedule.batch // self.world.size
        metrics: list[Tensor] = []
        for number, part in enumerate(parts, start=1):
            last, weight = number == len(parts), len(part) / share
            following = self._parts(step + 1)[0] if last else parts[number]
            with self.world.fabric.no_backward_sync(self.module, enabled=not last):
                losses = self._losses(step, part, following, last)
                self.world.fabric.backward(losses.total * weight)
            metrics.append(self._metrics(losses) * weight)
        if self.config.optimizer.clip_grad is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_grad)
        set_learning_rate(self.optimizer, self.schedule.learning_rate(step))
        self.optimizer.step()
        return self.world.mean(torch.stack(metrics).sum(0))

    def _parts(self, step: int) -> list[NDArray[np.int64]]:
        """Return this process's tiles of a step, cut into those computed at once."""
        own = self.schedule.indices(step)[self.world.rank :: self.world.size]
        return [own[start : start + self.micro_batch] for start in range(0, len(own), self.micro_batch)]

    def _losses(self, step: int, indices: NDArray[np.int64], following: NDArray[np.int64], last: bool) -> SDMAELosses:
        """Return the losses of one part of the batch; everything random depends on (seed, epoch, index) only."""
        config, epoch = self.config, step // self.schedule.steps_per_epoch
        tiles = self.loader.batch(indices, following)
        drawn = draw_augmentation(config.seed, epoch, indices)
        images = self.model.normalise(augment(tiles, drawn, config.augmentation, config.model.tile_size))
        mask, masked = self.masks(epoch, indices)
        with autocast(self.world.device, self.precision):
            output = self.module(images, mask, masked=masked, per_token=config.loss.target == "token", heads=config.loss.p > 0)
        losses: SDMAELosses = self.loss(output, images, mask, self.schedule.epoch(step), update_centre=last)
        return losses

    def masks(self, epoch: int, indices: NDArray[np.int64]) -> tuple[Tensor, int]:
        """Return the masks of the tiles `indices`, bool (B, L) on the device, and how many patches each hides."""
        config = self.config
        patches = config.model.grid**2
        mask = torch.from_numpy(random_mask(uniforms(config.seed, epoch, indices, patches, MASK), config.mask_ratio))
        if self.world.device.type == "cuda":
            mask = mask.pin_memory()
        return mask.to(self.world.device, non_blocking=True), masked_count(config.mask_ratio, patches)

    def _metrics(self, losses: SDMAELosses) -> Tensor:
        """Return total, reconstruction, distillation and the diagnostics as one vector on the device."""
        named = {
            "total": losses.total,
            "reconstruction": losses.reconstruction,
            "distillation": losses.distillation,
            **losses.diagnostics,
        }
        self.metric_names = tuple(named)
        return torch.stack([value.detach().float() for value in named.values()])

    def _in_parts(self) -> str:
        """Return what accumulation changes beside the time, in words, or nothing."""
        loss = self.config.loss
        if loss.p == 0 or loss.distance != "cross_entropy" or loss.centring != "sinkhorn":
            return ""
        return ". Sinkhorn targets and the diagnostics are computed in each part by itself: the loss changes slightly"

    def _halve(self, step: int, reason: str) -> None:
        """Halve the tiles computed at once, and say so."""
        self.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if self.world.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.micro_batch == 1:
            raise OutOfMemory(f"out of memory with one tile at a time ({reason}); choose a smaller model or tile size")
        if self.world.size > 1:
            raise OutOfMemory(
                f"out of memory with {self.micro_batch} tiles at once per process ({reason}); "
                f"resume with micro_batch {(self.micro_batch + 1) // 2} or less in config.yaml"
            )
        before, self.micro_batch = self.micro_batch, (self.micro_batch + 1) // 2
        self.warnings.append(
            Warned(
                "out_of_memory",
                f"Out of memory at step {step}: {self.micro_batch} tiles at once instead of "
                f"{before}; the rest of each batch is accumulated{self._in_parts()}",
            )
        )

    def measures_collapse(self) -> bool:
        """Return whether the diagnostics mean anything: among fewer than 8 images' targets all look alike by chance."""
        share = self.schedule.batch // self.world.size
        smallest = share % self.micro_batch or self.micro_batch
        return self.config.loss.target == "token" or smallest >= FEWEST_IMAGES

    def is_finite(self) -> bool:
        """Return whether the model and all that :meth:`tensors` holds are free of NaN and infinity."""
        tensors = (*self.model.state_dict().values(), *self.tensors().values())
        return all(bool(tensor.isfinite().all()) for tensor in tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Return optimizer state and centre, by name."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        tensors = {f"loss.{key}": value for key, value in self.loss.state_dict().items()}
        for parameter, state in self.optimizer.state.items():
            tensors |= {f"optimizer.{key}.{names[id(parameter)]}": value for key, value in state.items()}
        return {name: value.detach().contiguous() for name, value in tensors.items()}

    def restore(self, model: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
        """Take over the model's and :meth:`tensors` of a checkpoint.

        Raises
        ------
        RuntimeError
            If they do not fit this model.
        """
        self.model.load_state_dict(model)
        split: dict[str, dict[str, Any]] = {}
        for name, value in tensors.items():
            kind, key, *rest = name.split(".", 2)
            split.setdefault(rest[0] if kind == "optimizer" else "", {})[key] = value
        self.loss.load_state_dict(split.pop("", {}))
        parameters = dict(self.model.named_parameters())
        for name, state in split.items():
            parameter = parameters[name]
            self.optimizer.state[parameter] = {key: value.to(parameter.device, copy=True) for key, value in state.items()}


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` means that memory ran out, on any device."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)
