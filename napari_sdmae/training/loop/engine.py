"""What every optimizer step has in common: parts of a batch, accumulation, too little memory, tensors to save.

Nobody can know how many tiles fit into a GPU. A step that runs out of memory is done again with half the tiles at once and
accumulated gradients, with a warning; with memory for 3 tiles all losses equal those of the undivided run to 1e-5. Sinkhorn
targets and diagnostics are computed within one part and do change. With one tile at a time, or several processes (the others
would wait for ever), the run fails and names the setting to change.
"""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sdmae.config.base import Precision
from napari_sdmae.moved import renamed
from napari_sdmae.runs.events import Warned
from napari_sdmae.runs.folder import RunConfig
from napari_sdmae.training.loop.optim import set_learning_rate
from napari_sdmae.training.loop.processes import Processes
from napari_sdmae.training.loop.schedules import Schedule


class OutOfMemoryError(RuntimeError):
    """Not even one tile at a time fits; the message says what to do."""


class Losses(Protocol):
    """What a part of a batch gives: the loss to be lowered."""

    @property
    def total(self) -> Tensor:
        """The weighted sum, a scalar."""
        ...


S = TypeVar("S", bound=RunConfig)
M = TypeVar("M", bound=nn.Module)
L = TypeVar("L", bound=Losses)


class StepSnapshot(NamedTuple):
    """What a step changes before the optimizer does, to be put back when the step is done again."""

    loss: dict[str, Tensor]
    buffers: dict[str, Tensor]


class SteppingEngine(ABC, Generic[S, M]):
    """What the loop needs of one process: a model, steps over tiles, and what is to be saved.

    Attributes
    ----------
    config, schedule, world, precision
        Settings; which tiles and which learning rate at each step; the processes; ``fp32`` or ``bf16``.
    model
        The model.
    micro_batch
        Tiles computed at once.
    metric_names
        Names of what :meth:`step` returns.
    warnings
        What is to be told after the step.
    """

    config: S
    schedule: Schedule
    world: Processes
    precision: Precision
    model: M

    def _begin(self) -> None:
        """Set what every engine starts with."""
        share = self.schedule.batch // self.world.size
        self.micro_batch = min(self.config.micro_batch or share, share)
        self.metric_names: tuple[str, ...] = ()
        self.warnings: list[Warned] = []

    @abstractmethod
    def _try_step(self, step: int) -> Tensor:
        """Do a step in parts of :attr:`micro_batch` tiles, and return its metrics."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return what is to be saved beside the model, by name."""

    @abstractmethod
    def restore(self, model: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
        """Take over the model's and :meth:`tensors` of a checkpoint; RuntimeError if they do not fit this model."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model's files into `folder`."""

    def measures_collapse(self) -> bool:
        """Return whether the diagnostics of self-distillation mean anything here."""
        return False

    def step(self, step: int) -> Tensor:
        """Do step `step` (0-based) and return its metrics, means over the batch of all processes.

        When memory runs out the step is done again in parts of half the size.

        Raises
        ------
        OutOfMemoryError
            If one tile at a time is still too much, or if several processes train (the others would wait for ever).
        """
        return self._within_memory(step, self._try_step)

    def _within_memory(self, step: int, attempt: Callable[[int], Tensor]) -> Tensor:
        """Return what `attempt` gives for a step; with fewer tiles at once where memory runs out."""
        while True:
            kept = self._snapshot()
            try:
                return attempt(step)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = (str(error) or type(error).__name__).splitlines()[0]
            self._restore(kept)
            self._halve(step, reason)

    def _snapshot(self) -> StepSnapshot:
        """Return what the parts of a step change before it is whole."""
        return StepSnapshot({}, {})

    def _restore(self, kept: StepSnapshot) -> None:
        """Undo what the parts of a step that failed changed."""

    def _parts(self, step: int) -> list[NDArray[np.int64]]:
        """Return this process's tiles of a step, cut into those computed at once."""
        own = self.schedule.indices(step)[self.world.rank :: self.world.size]
        return [own[start : start + self.micro_batch] for start in range(0, len(own), self.micro_batch)]

    def _in_parts(self) -> str:
        """Return what accumulation changes beside the time, in words, or nothing."""
        return ""

    def _halve(self, step: int, reason: str) -> None:
        """Halve the tiles computed at once, and say so."""
        gc.collect()
        if self.world.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.world.device.type == "mps":
            torch.mps.empty_cache()
        if self.micro_batch == 1:
            raise OutOfMemoryError(f"out of memory with one tile at a time ({reason}); choose a smaller model or tile size")
        if self.world.size > 1:
            raise OutOfMemoryError(
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

    def is_finite(self) -> bool:
        """Return whether the model and all that :meth:`tensors` holds are free of NaN and infinity."""
        tensors = (*self.model.state_dict().values(), *self.tensors().values())
        return all(bool(tensor.isfinite().all()) for tensor in tensors)


class GradientEngine(SteppingEngine[S, M], Generic[S, M, L]):
    """An engine that learns: a step accumulates the gradients of its parts.

    A subclass says what the losses of a part of a batch are (:meth:`_losses`) and which numbers are logged (:meth:`_named`).

    Attributes
    ----------
    module, loss, optimizer
        The model as the processes share it, the loss with its state, and AdamW.
    """

    module: Any
    loss: nn.Module
    optimizer: torch.optim.Optimizer

    @abstractmethod
    def _losses(self, step: int, indices: NDArray[np.int64], following: NDArray[np.int64], last: bool) -> L:
        """Return the losses of one part of the batch; everything random depends on (seed, epoch, index) only."""

    @abstractmethod
    def _named(self, losses: L) -> Mapping[str, Tensor]:
        """Return the numbers to log, by name."""

    def _try_step(self, step: int) -> Tensor:
        """Accumulate the gradients of all parts of the batch, then let the optimizer step."""
        metrics = self._accumulate(step)
        if self.config.optimizer.clip_grad is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_grad)
        set_learning_rate(self.optimizer, self.schedule.learning_rate(step))
        self.optimizer.step()
        return self.world.mean(metrics)

    def _accumulate(self, step: int) -> Tensor:
        """Return the metrics of all parts of the batch; their gradients are accumulated."""
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
        return torch.stack(metrics).sum(0)

    def time_step(self) -> float:
        """Return the seconds of a step without its update: the fastest of three, which leave everything as it was."""
        kept, seconds = self._snapshot(), []
        for step in range(3):
            start = time.perf_counter()
            self._within_memory(step, self._accumulate).tolist()  # waits for a GPU
            seconds.append(time.perf_counter() - start)
        self._restore(kept)
        return min(seconds)

    def _metrics(self, losses: L) -> Tensor:
        """Return the numbers to log as one vector on the device."""
        named = self._named(losses)
        self.metric_names = tuple(named)
        return torch.stack([value.detach().float() for value in named.values()])

    def _snapshot(self) -> StepSnapshot:
        """Return the state of the loss and the running statistics of the model."""
        return StepSnapshot(_clones(self.loss.state_dict()), _clones(dict(self.model.named_buffers())))

    def _restore(self, kept: StepSnapshot) -> None:
        """Undo what the parts of a step that failed changed, and free their gradients."""
        self.loss.load_state_dict(kept.loss)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(kept.buffers[name])
        self.optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state of optimizer and loss, by name."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        tensors = {f"loss.{key}": value for key, value in self.loss.state_dict().items()}
        for parameter, state in self.optimizer.state.items():
            tensors |= {f"optimizer.{key}.{names[id(parameter)]}": value for key, value in state.items()}
        return {name: value.detach().contiguous() for name, value in tensors.items()}

    def restore(self, model: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
        """Take over the model's and :meth:`tensors` of a checkpoint; RuntimeError if they do not fit this model."""
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


def _clones(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies that later changes in place do not reach."""
    return {name: value.clone() for name, value in tensors.items()}


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` means that memory ran out, on any device."""
    words = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")  # the last: cuBLAS and cuDNN
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


__getattr__ = renamed(__name__, OutOfMemory="OutOfMemoryError")
