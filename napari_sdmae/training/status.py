"""How a run goes: the content of status.json, and whether its job is alive. Imports no torch."""

from __future__ import annotations

import os
import platform
import time
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field

State = Literal["preparing", "running", "finished", "stopped", "paused", "cancelled", "failed", "interrupted"]

HEARTBEAT_S = 2.0
"""Seconds between two writings of the status by a job that is alive."""
SILENCE_S = 60.0
"""A job on another machine that was silent for so long counts as dead."""


HISTORY = {"step", "total_steps", "epoch", "epochs", "loss", "best", "best_metric", "best_epoch", "started", "warnings"}
"""What a resumed run takes over from the status of the job before it."""


class RunStatus(BaseModel):
    """How a run goes. Memory in bytes, times in seconds since 1970, `eta_s` in seconds.

    `best` is the highest value so far of `best_metric` (``mIoU`` …) on the validation images, after `best_epoch` epochs.
    """

    model_config = ConfigDict(frozen=True)

    state: State
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    epochs: int = 0
    loss: float | None = None
    best: float | None = None
    best_metric: str = ""
    best_epoch: int | None = None
    eta_s: float | None = None
    images_per_s: float = 0.0
    memory: int = 0
    host: str = Field(default_factory=platform.node)
    pid: int = Field(default_factory=os.getpid)
    process_started: float = Field(default_factory=lambda: psutil.Process().create_time())
    started: float = Field(default_factory=time.time)
    heartbeat: float = Field(default_factory=time.time)
    message: str = ""
    warnings: tuple[str, ...] = ()
    device: str = ""
    precision: str = ""


def is_alive(status: RunStatus) -> bool:
    """Return whether the job that wrote `status` still runs.

    On the same host the process must exist and be that very process (a process id is used again by others);
    on another host its heartbeat must be younger than :data:`SILENCE_S`.
    """
    if status.state not in ("preparing", "running"):
        return False
    if status.host != platform.node():
        return time.time() - status.heartbeat < SILENCE_S
    try:
        process = psutil.Process(status.pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - status.process_started) < 2.0
    except psutil.Error:
        return False


def restarted(earlier: RunStatus) -> RunStatus:
    """Return the status of a job that goes on with an earlier one: new process, same history."""
    kept = earlier.model_dump(include=HISTORY)
    return RunStatus(state="preparing", **kept)
