"""Runs a job in the foreground: signals to requests, events to a terminal, errors to exit statuses."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from napari_sdmae.cli._arguments import explain
from napari_sdmae.cli._progress import show
from napari_sdmae.finetune_config import FinetuneConfig
from napari_sdmae.training.events import Ended, Event, Started
from napari_sdmae.training.run_folder import Request, RunConfig

STOPPED_BY_SIGNAL = 143
BAD_DATA = 3


class Signals:
    """Turns SIGTERM and SIGINT into the request to stop and keep; a second one ends the process at once."""

    def __init__(self) -> None:
        self.request: Request | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals for a while."""
        before = {number: signal.signal(number, self._catch) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.request = "stop"
        signal.signal(number, signal.SIG_DFL)


def run_job(config: RunConfig, run: Path, *, resume: bool) -> int:
    """Run the job `config` in the folder `run`; return the exit status. Signals are caught while torch is still loading."""
    signals = Signals()
    with signals.caught():
        return _run(config, run, signals, resume)


def _run(config: RunConfig, run: Path, signals: Signals, resume: bool) -> int:
    started, ended = False, Ended("finished", 0)
    try:
        for event in show(_events(config, run, signals, resume), run):
            started = started or isinstance(event, Started)
            ended = event if isinstance(event, Ended) else ended
    except Exception as error:
        if ended.state != "failed":
            print(f"sdmae: {explain(error)}", file=sys.stderr)
        return exit_status(error, started)
    return STOPPED_BY_SIGNAL if ended.state == "stopped" and signals.request is not None else 0


def _events(config: RunConfig, run: Path, signals: Signals, resume: bool) -> Iterator[Event]:
    """Return the events of the job that `config` is the settings of."""
    if isinstance(config, FinetuneConfig):
        from napari_sdmae.training import finetune

        return finetune(config, run=run, stop=lambda: signals.request, resume=resume)
    from napari_sdmae.training import pretrain

    return pretrain(config, run=run, stop=lambda: signals.request, resume=resume)


def exit_status(error: Exception, started: bool) -> int:
    """Return 2 for settings that cannot be used, 3 for data that cannot, 1 for anything else, as all once training started."""
    from napari_sdmae.data.sources import DataError

    if isinstance(error, DataError):
        return BAD_DATA
    return 2 if isinstance(error, ValueError | FileNotFoundError) and not started else 1
