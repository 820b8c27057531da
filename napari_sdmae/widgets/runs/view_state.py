"""What a widget that trains says about a run, and what it lets people do: decided here, shown elsewhere."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal

from napari_sdmae.humanize import duration, plain, size
from napari_sdmae.runs.folder import Request, RunStatus
from napari_sdmae.text.printable import printable

Action = Literal["stop", "pause", "cancel", "resume", "take_over"]

_STATES = {
    "preparing": "Preparing the tiles",
    "running": "Training",
    "finished": "Finished: the model is ready",
    "stopped": "Stopped: the model so far is saved",
    "paused": "Paused: Resume continues exactly where it was",
    "cancelled": "Cancelled",
    "failed": "Failed",
    "interrupted": "Interrupted: Resume continues from the last checkpoint",
}
_ASKED = {
    "stop": "Stopping: finishing this step, then saving the model",
    "pause": "Pausing: finishing this step, then saving",
    "cancel": "Cancelling",
}
_DIED = "Training stopped unexpectedly (computer switched off, out of memory, or closed)."
_RESUMABLE = ("paused", "stopped", "interrupted", "failed", "cancelled")


Writer = tuple[str, str, int, str, int]
"""One job among all that ever wrote the status of a run."""


def writer(status: RunStatus | None) -> Writer | None:
    """Return which job wrote `status`."""
    return (status.host, status.boot, status.pid, status.start, status.owner) if status else None


@dataclass(frozen=True)
class Launch:
    """What is known of the process this viewer started, when the run's status was by `before` (see :func:`writer`).

    `exit_code` is None while it runs; `output` is what it printed last; `cancelled` tells that this viewer ended it.
    """

    before: Writer | None
    exit_code: int | None = None
    output: str = ""
    cancelled: bool = False


@dataclass(frozen=True)
class RunViewState:
    """What to show of a run. `progress` is in [0, 1], or None where nobody knows."""

    headline: str
    details: str = ""
    progress: float | None = None
    busy: bool = False
    failed: bool = False
    error: str = ""
    warnings: tuple[str, ...] = ()
    actions: frozenset[Action] = frozenset()


def describe(
    status: RunStatus | None, asked: Request | None = None, launch: Launch | None = None, *, silent: bool = False
) -> RunViewState:
    """Return what to show of a run with `status`, from which `asked` is wanted, started here by `launch` if by anybody here.

    `silent`: its job is where nobody can see whether it lives, and was not heard of for long.
    """
    if launch and not has_spoken(status, launch) and launch.exit_code != 0:
        return _before_first_word(status, launch)
    if status is None:
        return RunViewState("Waiting for the run to report")
    if silent:
        return _silent(status)
    live = status.state in ("preparing", "running")
    return RunViewState(
        headline=_headline(status, asked if live else None),
        details=_details(status, live),
        progress=_progress(status),
        busy=live,
        failed=status.state == "failed",
        error=_error(status, launch),
        warnings=status.warnings,
        actions=_actions(status, asked),
    )


def has_spoken(status: RunStatus | None, launch: Launch) -> bool:
    """Return whether `status` was written by the process of `launch`, not by an earlier one."""
    return status is not None and writer(status) != launch.before


def _silent(status: RunStatus) -> RunViewState:
    """Return what to show of a job that cannot be seen from here and does not write any more."""
    where = f" on {status.host}" if status.host else ""
    return RunViewState(
        headline=f"No update from {status.host or 'the job'}",
        details=f"last update {status.last_heard} (that computer’s clock) · {_details(status, live=False)}",
        progress=_progress(status),
        error=f"This computer cannot check whether process {status.pid}{where} is still training. "
        "Check there before you take the run over.",
        warnings=status.warnings,
        actions=frozenset({"stop", "pause", "take_over"}),
    )


def _before_first_word(status: RunStatus | None, launch: Launch) -> RunViewState:
    again = status is not None
    if launch.exit_code is None:
        return RunViewState("Starting again" if again else "Starting", busy=True, actions=frozenset({"cancel"}))
    if launch.cancelled:
        return RunViewState("Cancelled before it started", actions=frozenset({"resume"}) if again else frozenset())
    line = last_line(launch.output) or f"Training stopped with exit code {launch.exit_code}."
    actions: frozenset[Action] = frozenset({"resume"}) if again else frozenset()
    return RunViewState("Could not resume" if again else "Could not start", error=line, failed=not again, actions=actions)


def last_line(output: str) -> str:
    """Return the last line of `output` that says something."""
    lines = [printable(line.strip()) for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _headline(status: RunStatus, asked: Request | None) -> str:
    if asked:
        return _ASKED[asked]
    where = f" on {status.host}" if status.host != platform.node() else ""
    counted = status.state == "running" and status.epochs > 0
    epoch = f" · epoch {min(int(status.epoch) + 1, status.epochs)} of {status.epochs}" if counted else ""
    nothing = status.state == "stopped" and status.step == 0
    return f"{'Stopped: nothing was saved yet' if nothing else _STATES[status.state]}{epoch}{where}"


def _details(status: RunStatus, live: bool) -> str:
    parts = [status.message.removeprefix("preparing ")] if status.message and status.state != "failed" else []
    if status.state == "running" and status.eta_s is not None:
        parts.append(f"{duration(status.eta_s)} left")
    if live and status.images_per_s:
        parts.append(f"{status.images_per_s:.3g} images/s")
    if live and status.memory:
        parts.append(f"{size(status.memory)} memory")
    if status.loss is not None:
        parts.append(f"loss {status.loss:.4g}")
    if status.best is not None:
        parts.append(f"best {plain(status.best_metric)} {status.best:.3f} (epoch {status.best_epoch})")
    if not live and status.epochs:
        parts.append(f"{status.epoch:.3g} of {status.epochs} epochs")
    return " · ".join([*parts, *filter(None, (status.device, status.precision))])


def _progress(status: RunStatus) -> float | None:
    return min(1.0, status.step / status.total_steps) if status.total_steps else None


def _error(status: RunStatus, launch: Launch | None) -> str:
    if status.state == "failed":
        return status.message or _DIED
    if status.state != "interrupted":
        return ""
    said = last_line(launch.output) if launch and (launch.exit_code or 0) > 0 else ""  # negative: a signal ended it
    return said or _DIED


def _actions(status: RunStatus, asked: Request | None) -> frozenset[Action]:
    if status.state in ("preparing", "running"):
        if asked == "cancel":
            return frozenset()
        return frozenset({"cancel"}) if asked else frozenset({"stop", "pause", "cancel"})
    return frozenset({"resume"}) if status.state in _RESUMABLE else frozenset()
