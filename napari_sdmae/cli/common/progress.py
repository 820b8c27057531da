"""Shows the events of a job: a progress bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from napari_sdmae.cli.common.streams import SteadyStream
from napari_sdmae.humanize import duration
from napari_sdmae.runs.describe import describe, losses, measures
from napari_sdmae.runs.events import CheckpointSaved, Ended, Event, Preparing, Started, StepLogged, Validated, Warned
from napari_sdmae.text.printable import printable


def show(events: Iterator[Event], run: Path) -> Iterator[Event]:
    """Pass `events` on, showing each on stderr, and where the run is when it has ended."""
    yield from _bar(events) if sys.stderr.isatty() else _lines(events)
    print(printable(f"run folder: {run}"), file=sys.stderr)


def _lines(events: Iterator[Event]) -> Iterator[Event]:
    """Print one line per event; of the images that are being listed or read, only now and then one."""
    told = None
    for event in events:
        before, told = told, _part_done(event)
        if told is None or told != before:
            print(describe(event), file=sys.stderr, flush=True)
        yield event


def _part_done(event: Event) -> tuple[str, int] | None:
    """Return what a line about preparing adds to the one before: another tenth of the images, or 10,000 more."""
    if not isinstance(event, Preparing) or not (event.done or event.total):
        return None
    return event.message, event.done * 10 // event.total if event.total else event.done // 10_000


def _bar(events: Iterator[Event]) -> Iterator[Event]:
    """Show a bar over images, then one over steps; what matters longer is printed above it."""
    from tqdm import tqdm

    layout = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {postfix}"
    validated = ""
    terminal = sys.stderr.unescaped() if isinstance(sys.stderr, SteadyStream) else sys.stderr
    bar = tqdm(dynamic_ncols=True, file=terminal, bar_format=layout)
    try:
        for event in events:
            match event:
                case Preparing(done, total, message):
                    bar.total, bar.n = total or None, done
                    bar.set_description_str(printable(message))
                case Started(step, total, _, _, device, precision):
                    bar.total, bar.n = total, step
                    bar.set_description_str(f"{device} {precision}")
                case StepLogged(step, epoch, metrics, speed, _, eta):
                    bar.n = step
                    shown = f"epoch {epoch:.2f}  {losses(metrics)}  {validated}{speed:.1f} images/s  {duration(eta)} left"
                    bar.set_postfix_str(shown)
                case Validated(_, _, metrics, _, best) if best in metrics:
                    validated = f"{printable(measures({best: metrics[best]}))}  "
                case CheckpointSaved() | Warned() | Ended():
                    bar.write(printable(describe(event)), file=terminal)
            yield event
    finally:
        bar.close()
