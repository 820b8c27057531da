"""The loop over steps: what is logged, shown and saved when, and how a run ends.

Pre-training and fine-tuning are this one loop with an engine (a step, what to save), a model selection (what is measured after
an epoch, which epoch is best) and a previewer of each kind; nearest neighbours are an engine too, whose steps fill the bank.
Written twice, run folder, requests, resuming and out-of-memory handling would differ twice: the same kills are tested on both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from napari_sdmae.losses.collapse import collapse_warning
from napari_sdmae.moved import renamed
from napari_sdmae.runs.events import (
    CheckpointSaved,
    Ended,
    EndState,
    EpochFinished,
    Event,
    PreviewWritten,
    Started,
    StepLogged,
    Warned,
)
from napari_sdmae.runs.folder import Request, RunFolder
from napari_sdmae.training.loop.averages import RunningMean
from napari_sdmae.training.loop.checkpoints import TrainingState, save_checkpoint
from napari_sdmae.training.loop.engine import SteppingEngine
from napari_sdmae.training.loop.model_selection import ModelSelection, StopPoll
from napari_sdmae.training.loop.throughput import Throughput

ENDINGS: dict[Request, EndState] = {"stop": "stopped", "pause": "paused", "cancel": "cancelled"}


class DivergedError(RuntimeError):
    """The loss, or a weight, is not a number any more."""


class Shows(Protocol):
    """Shows what the model makes of the same few images, epoch after epoch."""

    def write(self, folder: RunFolder, epoch: int) -> Path:
        """Write the preview of an epoch and return its path."""
        ...


@dataclass
class Training:
    """One run under way, of either kind."""

    engine: SteppingEngine[Any, Any]
    folder: RunFolder
    state: TrainingState
    previewer: Shows
    judge: ModelSelection
    window: RunningMean = field(init=False)
    epoch: RunningMean = field(init=False)
    pace: Throughput = field(init=False, default_factory=Throughput)
    saved_at: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.window, self.epoch = (
            RunningMean(self.engine.world.device, self.state.sums.get(name)) for name in ("window", "epoch")
        )

    def run(self, asked: StopPoll) -> Iterator[Event]:
        """Train until finished or stopped. A stop request (`asked`) takes effect after the current step."""
        engine, schedule, world = self.engine, self.engine.schedule, self.engine.world
        yield Started(
            self.state.step, schedule.total_steps, schedule.epochs, schedule.steps_per_epoch, str(world.device), engine.precision
        )
        if self.state.open_epoch:
            yield from self._close_epoch(asked)
            if (request := world.agree(asked())) is not None and (self.state.open_epoch or not self._is_done()):
                yield from self._end(request, asked)
                return
            if self._save_due(None):
                yield from self._save()
        for step in range(self.state.step, schedule.total_steps):
            yield from self._step(step, asked)
            request = world.agree(asked())
            if request != "cancel" and self._save_due(request):
                yield from self._save()
            if request is not None and (request == "cancel" or self.state.open_epoch or not self._is_done()):
                yield from self._end(request, asked)
                return
        request = world.agree((yield from self.judge.finish(self.state, "finished", asked)) if world.rank == 0 else None)
        if request is not None:
            yield from self._end(request, asked)
            return
        yield Ended("finished", self.state.step, self.judge.summary() if world.rank == 0 else "")

    def _is_done(self) -> bool:
        return self.state.step == self.engine.schedule.total_steps

    def _end(self, request: Request, asked: StopPoll) -> Iterator[Event]:
        """End as asked, after the last save."""
        if request == "cancel":
            yield Ended("cancelled", self.state.step, "ended as asked; nothing was saved since the last checkpoint")
            return
        if self.engine.world.rank == 0:
            yield from self.judge.finish(self.state, ENDINGS[request], asked)
        yield Ended(ENDINGS[request], self.state.step, f"{ENDINGS[request]} as asked; it can be resumed")

    def _step(self, step: int, asked: StopPoll) -> Iterator[Event]:
        """Do one step, log it when due, and close the epoch after its last one."""
        engine, schedule = self.engine, self.engine.schedule
        values = engine.step(step)
        self.state.step, self.state.micro_batch = step + 1, engine.micro_batch
        self.window.add(engine.metric_names, values)
        self.epoch.add(engine.metric_names, values)
        while engine.warnings:
            yield engine.warnings.pop(0)
        ends_epoch = self.state.step % schedule.steps_per_epoch == 0
        if self.state.step == 1 or self.state.step % engine.config.log_every == 0 or self._is_done():
            yield from self._log()
        if ends_epoch:
            yield from self._close_epoch(asked)

    def _log(self) -> Iterator[Event]:
        """Yield the means since the last log; warn once when self-distillation has collapsed."""
        schedule, step, steps = self.engine.schedule, self.state.step, self.window.steps
        metrics = self._finite(self.window.take()) | {"lr": schedule.learning_rate(step - 1)}
        speed = self.pace.images_per_s(steps * schedule.batch)
        left = self.pace.seconds_for((schedule.total_steps - step) * schedule.batch)
        yield StepLogged(step, schedule.epoch(step), metrics, speed, self.engine.world.memory(), left)
        message = collapse_warning(metrics)
        if message is not None and "collapse" not in self.state.warned and self.engine.measures_collapse():
            self.state.warned.append("collapse")
            yield Warned("collapse", message)

    def _close_epoch(self, asked: StopPoll) -> Iterator[Event]:
        """Measure what the epoch reached, unless a request comes meanwhile: the epoch then stays open, to be closed on resume."""
        epoch = self.state.step // self.engine.schedule.steps_per_epoch
        measured: dict[str, float] | None = {}
        if self.engine.world.rank == 0:
            with self.pace.excluded():
                measured = yield from self.judge.evaluate(epoch, asked)
        self.state.open_epoch = measured is None
        if measured is not None:
            yield from self._finish_epoch(epoch, measured)

    def _finish_epoch(self, epoch: int, measured: dict[str, float]) -> Iterator[Event]:
        """Yield the means of the epoch and, when due, a preview; remember whether it was the best."""
        config, last = self.engine.config, epoch == self.engine.schedule.epochs
        metrics = self._finite(self.epoch.take()) | {"lr": self.engine.schedule.learning_rate(self.state.step - 1)} | measured
        yield EpochFinished(epoch, self.state.step, metrics)
        yield from self.judge.select(epoch, metrics, self.state, saved=self._epoch_is_saved(epoch))
        if self.engine.world.rank == 0 and (epoch % config.preview_every == 0 or last):
            with self.pace.excluded():
                path = self.previewer.write(self.folder, epoch)
            yield PreviewWritten(epoch, path)

    def _epoch_is_saved(self, epoch: int) -> bool:
        return epoch % self.engine.config.checkpoint_every == 0 or epoch == self.engine.schedule.epochs

    def _save_due(self, request: Request | None) -> bool:
        """Return whether to save after this step: epoch, time, or because the run ends."""
        epoch, position = divmod(self.state.step, self.engine.schedule.steps_per_epoch)
        late = time.monotonic() - self.saved_at > 60 * self.engine.config.checkpoint_minutes
        best = self.judge.published_step(self.state) == self.state.step
        return request is not None or late or (position == 0 and (best or self._epoch_is_saved(epoch)))

    def _save(self) -> Iterator[Event]:
        """Save; only the first process writes, as the others hold the same."""
        if self.engine.world.rank == 0:
            with self.pace.excluded():
                self.state.sums = {"window": self.window.state(), "epoch": self.epoch.state()}
                self._finite(self.state.sums["window"])
                self._check_weights()
                path = self._write_checkpoint()
            yield CheckpointSaved(self.state.step, path)
        self.saved_at = time.monotonic()

    def _write_checkpoint(self) -> Path:
        """Save, or say what is still there and what to do."""
        try:
            published_step = self.judge.published_step(self.state)
            return save_checkpoint(self.folder, self.engine.save, self.engine.tensors(), self.state, published_step)
        except OSError as error:
            raise OSError(
                f"the checkpoint of step {self.state.step} could not be saved ({error.strerror or error}); {self._last_good()}: "
                f"free some space, then sdmae resume {self.folder.path}"
            ) from error

    def _last_good(self) -> str:
        """Return which checkpoint is still there, in words."""
        kept = self.folder.checkpoints()
        return f"the last good one is {kept[-1].name}" if kept else "there is none yet"

    def _check_weights(self) -> None:
        """End the run before a model with NaN is saved: the loss, taken before the update, cannot tell what the update did."""
        if not self.engine.is_finite():
            raise DivergedError(
                f"weights are not finite after step {self.state.step}: lower the learning rate, clip the gradient "
                f"(optimizer.clip_grad) or use precision fp32; this checkpoint was not saved, {self._last_good()}"
            )

    def _finite(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return `metrics`, or end the run before a spoilt model is saved over a good one."""
        if not math.isfinite(metrics.get("total", 0.0)):
            raise DivergedError(
                f"the loss is {metrics['total']} at step {self.state.step}: lower the learning rate, "
                "clip the gradient (optimizer.clip_grad) or use precision fp32; the last checkpoint is from before"
            )
        return metrics


__getattr__ = renamed(__name__, Diverged="DivergedError")
