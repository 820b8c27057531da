"""How a run goes: the content of status.json, and whether its job is alive. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Literal

import psutil
from pydantic import Field, ValidationError

from napari_sdmae.runs.ownership.authorship import UNKNOWN, Author, Text, lives
from napari_sdmae.text.documents import parse_json
from napari_sdmae.text.errors import first_problem

State = Literal["preparing", "running", "finished", "stopped", "paused", "cancelled", "failed", "interrupted"]

LIVE: tuple[State, ...] = ("preparing", "running")
HEARTBEAT_S = 2.0
"""Seconds between two writings of the status by a job that is alive."""
SILENCE_S = 90.0
"""So long must one have looked, and seen no heartbeat, before a job elsewhere is called silent: network shares show changes late,
NFS by default up to 60 s. A silent job is not a dead one: that cannot be told from here."""


HISTORY = {"step", "total_steps", "epoch", "epochs", "loss", "best", "best_metric", "best_epoch", "started", "warnings"}
"""What a resumed run takes over from the status of the job before it."""

Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Seconds = Annotated[float, Field(ge=0, le=1e11)]
"""A time that every system can write as a date, or a duration."""


class RunStatus(Author):
    """How a run goes. Memory in bytes, times in seconds since 1970, `eta_s` in seconds.

    `best` is the highest value so far of `best_metric` (``mIoU`` …) on the validation images, after `best_epoch` epochs.
    `owner` is the number under which the job owns the folder, `beat` counts its heartbeats. The times are there to be shown: a
    clock may be set, so that nothing is ever decided by them.
    """

    state: State
    step: Count = 0
    total_steps: Count = 0
    epoch: Finite = 0.0
    epochs: Count = 0
    loss: Finite | None = None
    best: Finite | None = None
    best_metric: Text = ""
    best_epoch: Count | None = None
    eta_s: Seconds | None = None
    images_per_s: Finite = 0.0
    memory: Count = 0
    owner: Count = 0
    beat: Count = 0
    process_started: Seconds = Field(default_factory=lambda: psutil.Process().create_time())
    started: Seconds = Field(default_factory=time.time)
    heartbeat: Seconds = Field(default_factory=time.time)
    message: Text = ""
    warnings: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()
    device: Text = ""
    precision: Text = ""

    @property
    def live(self) -> bool:
        """Whether a job is at work, if it still lives."""
        return self.state in LIVE

    @property
    def last_heard(self) -> str:
        """When its job last wrote it, by the clock of that machine."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.heartbeat))


def parse_status(data: bytes) -> RunStatus:
    """Return the status that `data` holds, also that of version 1.

    Raises
    ------
    ValueError
        If it is none; the message says why in one line.
    """
    values = parse_json(data)
    if not isinstance(values, dict):
        raise ValueError("it holds no status")
    try:
        return RunStatus.model_validate({**UNKNOWN, "process_started": 0.0, "started": 0.0, "heartbeat": 0.0} | values)
    except ValidationError as error:
        raise ValueError(first_problem(error)[:300]) from None


def is_alive(status: RunStatus) -> bool | None:
    """Return whether the job that wrote `status` still runs; None where that cannot be told, see :class:`Listener`."""
    return lives(status) if status.live else False


def restarted(earlier: RunStatus) -> RunStatus:
    """Return the status of a job that goes on with an earlier one: new process, same history."""
    kept = earlier.model_dump(include=HISTORY)
    return RunStatus(state="preparing", **kept)


class Listener:
    """Hears whether a job that cannot be asked for still lives: it counts its heartbeats, and here they are seen to change.

    Only this process's own monotonic clock is read, so that no clock that was set makes a job look dead or alive.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: tuple[object, ...] = ()
        self._since = 0.0

    def is_silent(self, status: RunStatus) -> bool:
        """Return whether `status`, looked at again and again, has not changed for :data:`SILENCE_S`."""
        beat = (status.owner, status.host, status.pid, status.start, status.beat, status.heartbeat)
        if beat != self._heard:
            self._heard, self._since = beat, self._clock()
        return self._clock() - self._since > SILENCE_S
