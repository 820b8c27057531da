"""One line of text for each event: for log.txt and for a terminal that shows no progress bar. Imports no torch."""

from __future__ import annotations

from napari_sdmae.humanize import count, duration, size
from napari_sdmae.runs.events import (
    CheckpointSaved,
    Ended,
    EpochFinished,
    Event,
    Preparing,
    PreviewWritten,
    Started,
    StepLogged,
    Validated,
    Warned,
)
from napari_sdmae.text.printable import printable


def describe(event: Event) -> str:
    """Return `event` as one line; names in it, of files and classes, are made safe for a terminal."""
    return printable(_line(event))


def _so_far(done: int) -> str:
    return f", {count(done)} so far" if done else ""


def _line(event: Event) -> str:
    match event:
        case Preparing(done, total, message):
            return f"preparing {done}/{total}: {message}" if total else f"preparing: {message}{_so_far(done)}"
        case Started(step, total, epochs, steps_per_epoch, device, precision):
            return f"training from step {step} of {total} ({epochs} epochs of {steps_per_epoch} steps) on {device} in {precision}"
        case StepLogged(step, epoch, metrics, speed, memory, eta):
            return (
                f"step {step}  epoch {epoch:.2f}  {losses(metrics)}  {speed:.1f} images/s  {size(memory)}  {duration(eta)} left"
            )
        case EpochFinished(epoch, _, metrics):
            return f"epoch {epoch} done  {losses(metrics)}"
        case Validated(epoch, _, metrics, selected, _):
            return f"validation after epoch {epoch}  {measures(metrics)}" + ("  best so far" if selected else "")
        case PreviewWritten(_, path):
            return f"preview: {path}"
        case CheckpointSaved(step, path):
            return f"checkpoint of step {step}: {path}"
        case Warned(code, message):
            return f"warning ({code}): {message}"
        case Ended(state, step, message):
            return f"{state} at step {step}" + (f": {message}" if message else "")


def losses(metrics: dict[str, float]) -> str:
    """Return the losses that are there, in the order they matter."""
    names = ("total", "reconstruction", "distillation")
    return "  ".join(f"{name} {metrics[name]:.4f}" for name in names if name in metrics)


def measures(metrics: dict[str, float]) -> str:
    """Return what was measured on the validation images."""
    return "  ".join(f"{in_words(name.removeprefix('validation/'))} {value:.4f}" for name, value in metrics.items())


def in_words(name: str) -> str:
    """Return the name of a number as people read it: ``balanced accuracy``."""
    return name.replace("_", " ")
