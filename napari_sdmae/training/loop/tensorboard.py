"""The losses of a run as TensorBoard files, beside metrics.jsonl, for those who compare many runs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from napari_sdmae.runs.events import EpochFinished, Event, Started, StepLogged


def check_tensorboard() -> None:
    """Raise ValueError if the package is not installed."""
    if find_spec("tensorboard") is None:
        raise ValueError(
            "TensorBoard files need the package tensorboard, which is not installed: "
            "pip install 'napari-sdmae[tensorboard]', or switch them off (tensorboard)"
        )


def write_scalars(events: Iterator[Event], folder: Path) -> Iterator[Event]:
    """Pass `events` on, writing their numbers into `folder`: by step; means of epochs as ``epoch/…``.

    A resumed run takes back what was written after the step from which it goes on.
    """
    from torch.utils.tensorboard import SummaryWriter

    writer: SummaryWriter | None = None
    try:
        for event in events:
            if isinstance(event, Started):
                writer = SummaryWriter(str(folder), purge_step=event.step + 1)
            elif writer is not None and isinstance(event, StepLogged | EpochFinished):
                prefix = "epoch/" if isinstance(event, EpochFinished) else ""
                for name, value in event.metrics.items():
                    writer.add_scalar(prefix + name, value, event.step)
            yield event
    finally:
        if writer is not None:
            writer.close()
