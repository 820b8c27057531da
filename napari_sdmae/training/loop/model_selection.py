"""Which epoch of a run is its best, and what is left to do after the last step: different for each kind of run.

``model/`` of a fine-tuning run is the best epoch, not the latest. What was measured for it is part of the checkpoint, so that
a resumed run remembers its choice. *Pause* and *stop* break a validation off and save the epoch as open; going on closes it
first. The test images are measured once, after the last step. If the best epoch's checkpoint is damaged, the one that is
resumed is measured in its place, with a warning: the report must belong to a head that exists. Five SIGKILLs at random
moments, and requests in the middle of a validation and of the test, give the same weights and report bit for bit
(``tests/training/finetuning/test_resume.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from napari_sdmae.runs.events import EndState, Event
from napari_sdmae.runs.folder import Request
from napari_sdmae.training.loop.checkpoints import TrainingState

StopPoll = Callable[[], Request | None]


class ModelSelection(Protocol):
    """What the loop asks about each epoch."""

    def evaluate(self, epoch: int, asked: StopPoll) -> Generator[Event, None, dict[str, float] | None]:
        """Measure the model after `epoch` epochs; return the numbers by name, or None if a request came meanwhile."""
        ...

    def select(self, epoch: int, metrics: dict[str, float], state: TrainingState, *, saved: bool) -> Iterator[Event]:
        """Remember in `state` whether the epoch was the best; `saved`: it is saved in any case."""
        ...

    def published_step(self, state: TrainingState) -> int | None:
        """Return the step whose model is the run's, None for the newest."""
        ...

    def finish(self, state: TrainingState, ending: EndState, asked: StopPoll) -> Generator[Event, None, Request | None]:
        """Do what is left when the run has ended in this way; return a request that came meanwhile."""
        ...

    def summary(self) -> str:
        """Return the result of the finished run in a few words."""
        ...


class LowestLoss:
    """Pre-training: the best epoch is that of the lowest loss, among those that are saved anyway.

    Totals are compared among epochs of one weight p only: while p grows, so does the total. The newest model is shown.
    """

    def evaluate(self, epoch: int, asked: StopPoll) -> Generator[Event, None, dict[str, float] | None]:
        """Measure nothing beside the losses."""
        yield from ()
        return {}

    def select(self, epoch: int, metrics: dict[str, float], state: TrainingState, *, saved: bool) -> Iterator[Event]:
        """Remember whether this was the best epoch that is saved."""
        if saved and (metrics["p"] > state.best_p or metrics["total"] < state.best_loss):
            state.best_p, state.best_loss, state.best_step = metrics["p"], metrics["total"], state.step
        yield from ()

    def published_step(self, state: TrainingState) -> int | None:
        """Show the newest model."""
        return None

    def finish(self, state: TrainingState, ending: EndState, asked: StopPoll) -> Generator[Event, None, Request | None]:
        """Leave everything as it is."""
        yield from ()
        return None

    def summary(self) -> str:
        """Say nothing beside the losses."""
        return ""
