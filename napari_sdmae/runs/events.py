"""What a running job tells: small frozen events, yielded by :func:`napari_sdmae.training.pretrain` and ``finetune``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

EndState = Literal["finished", "stopped", "paused", "cancelled", "failed"]
"""stopped: model kept, resumable; paused: resumable, device freed; cancelled: ended without saving; failed: see message."""


@dataclass(frozen=True)
class Preparing:
    """What precedes the first step: `done` of `total` images; a total of 0 is not known yet."""

    done: int
    total: int
    message: str


@dataclass(frozen=True)
class Started:
    """Training starts at `step` (0, or where it was resumed) of `total_steps`."""

    step: int
    total_steps: int
    epochs: int
    steps_per_epoch: int
    device: str
    precision: str


@dataclass(frozen=True)
class StepLogged:
    """Losses averaged since the last log; `step` steps are done. Memory in bytes, rates in images per second."""

    step: int
    epoch: float
    metrics: dict[str, float]
    images_per_s: float
    memory: int
    eta_s: float


@dataclass(frozen=True)
class EpochFinished:
    """`epoch` epochs are done; `metrics` are means over the epoch."""

    epoch: int
    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Validated:
    """The head was measured on the validation images after `epoch` epochs; `selected`: it is the best so far.

    `metrics` are named ``validation/…``; `best` names the one that selects, empty where there are no validation images.
    """

    epoch: int
    step: int
    metrics: dict[str, float]
    selected: bool
    best: str = ""


@dataclass(frozen=True)
class PreviewWritten:
    """Probe tiles were reconstructed, or validation images predicted, into `path` (an .npz)."""

    epoch: int
    path: Path


@dataclass(frozen=True)
class CheckpointSaved:
    """The state after `step` steps is safe on disk in `path`."""

    step: int
    path: Path


@dataclass(frozen=True)
class Warned:
    """Something the user should know. `code` is stable: batch, checkpoint, collapse, images, labels, out_of_memory,
    quarantine, schedule, selection, threads."""

    code: str
    message: str


@dataclass(frozen=True)
class Ended:
    """The run ended at `step`; always the last event."""

    state: EndState
    step: int
    message: str = field(default="")


Event = Preparing | Started | StepLogged | EpochFinished | Validated | PreviewWritten | CheckpointSaved | Warned | Ended
