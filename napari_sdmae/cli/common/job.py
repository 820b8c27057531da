"""Runs a job in the foreground: signals to requests, events to a terminal, errors to exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from napari_sdmae.cli.common.parser import exit_status
from napari_sdmae.cli.common.progress import show
from napari_sdmae.cli.common.signals import Signals
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.runs.events import Ended, Event, Started
from napari_sdmae.runs.folder import RunConfig
from napari_sdmae.text.errors import error_line

STOPPED_BY_SIGNAL = 143


def run_job(config: RunConfig, run: Path, *, resume: bool, take_over: bool = False) -> int:
    """Run the job `config` in the folder `run`; return the exit status. Signals are caught while torch is still loading."""
    signals = Signals()
    with signals.caught():
        return _run(_events(config, run, signals, resume=resume, take_over=take_over), run, signals)


def _run(events: Iterator[Event], run: Path, signals: Signals) -> int:
    started, ended = False, Ended("finished", 0)
    try:
        for event in show(events, run):
            started = started or isinstance(event, Started)
            ended = event if isinstance(event, Ended) else ended
    except Exception as error:
        if ended.state != "failed":
            print(f"sdmae: {error_line(error)}", file=sys.stderr)
        return exit_status(error, started)
    return STOPPED_BY_SIGNAL if ended.state == "stopped" and signals.request is not None else 0


def _events(config: RunConfig, run: Path, signals: Signals, **how: bool) -> Iterator[Event]:
    """Yield the events of the job that `config` is the settings of; `how` it begins."""
    if isinstance(config, FinetuneConfig):
        from napari_sdmae.training import finetune

        yield from finetune(config, run=run, stop=lambda: signals.request, **how)
        return
    from napari_sdmae.training import pretrain

    yield from pretrain(config, run=run, stop=lambda: signals.request, **how)
