"""Writes what a run tells into its folder: status.json, metrics.jsonl and log.txt. Imports no torch."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from napari_sdmae.io.regular_files import append_regular
from napari_sdmae.runs.describe import describe
from napari_sdmae.runs.events import Ended, EpochFinished, Event, Preparing, Started, StepLogged, Validated, Warned
from napari_sdmae.runs.folder import HEARTBEAT_S, RunFolder, RunStatus, TakenOverError
from napari_sdmae.runs.ownership.authorship import place_of
from napari_sdmae.text.errors import error_line
from napari_sdmae.text.printable import printable


def record(events: Iterator[Event], folder: RunFolder) -> Iterator[Event]:
    """Pass `events` on, writing each into `folder` first.

    An error ends the run as failed: the status says it in one line, log.txt holds the traceback, :class:`Ended` is yielded
    and the error raised again. While the events last, a thread writes the heartbeat. The folder is not touched before the
    first event, as until then it may belong to another run, and not after it was taken over by another job.
    """
    recorder: _Recorder | None = None
    try:
        for event in events:
            recorder = recorder or _Recorder(folder)
            recorder.write(event)
            yield event
    except Exception as error:
        if recorder is None or isinstance(error, TakenOverError):
            raise
        folder.check_owner()  # in a folder that was taken over, files go missing: that is no failure of the run
        recorder.log(traceback.format_exc())
        ended = Ended("failed", recorder.status.step, error_line(error))
        recorder.write(ended)
        yield ended
        raise
    finally:
        if recorder is not None:
            recorder.close()


class _Recorder:
    """The one writer of a run's status: by event from the job, by the clock from a thread."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.status = folder.status() or RunStatus(state="preparing")
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def write(self, event: Event) -> None:
        """Write one event.

        Raises
        ------
        TakenOverError
            If the folder is another job's now; nothing is written.
        RunFolderError
            If a link, a FIFO or the like lies where the next files go.
        """
        self.folder.check_owner()
        if isinstance(event, EpochFinished):
            self.folder.check_kinds()
        if isinstance(event, StepLogged | EpochFinished):
            self.folder.append_metrics(_metrics_record(event))
        if not isinstance(event, Preparing):
            self.log(describe(event))
        self._update(_changes(event, self.status))

    def log(self, text: str) -> None:
        """Append `text` to log.txt; a full disk must not end the run here."""
        with suppress(OSError):
            append_regular(self.folder.log, f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {printable(text.rstrip())}\n")

    def close(self) -> None:
        """End the heartbeat; events that ended without a word (the caller left its loop) count as cancelled."""
        self._closed.set()
        self._thread.join()
        with suppress(TakenOverError):
            if self.status.live:
                self.write(Ended("cancelled", self.status.step, "the program that ran it ended early; resume it"))
        self.folder.leave()

    def _beat(self) -> None:
        with suppress(TakenOverError):  # the job finds that out by itself, at its next step
            while not self._closed.wait(HEARTBEAT_S):
                self.folder.check_owner()
                self._update({})

    def _update(self, changes: dict[str, Any]) -> None:
        """Change the status and write it with a new heartbeat; one that cannot be written is written with the next."""
        with self._lock, suppress(OSError):
            beat = {"heartbeat": time.time(), "beat": self.status.beat + 1}
            self.status = self.status.model_copy(update={**changes, **beat})
            self.status = self.status.model_copy(update=place_of(self.folder.path))
            self.folder.write_status(self.status)


def _changes(event: Event, status: RunStatus) -> dict[str, Any]:
    """Return what `event` changes in `status`."""
    match event:
        case Preparing():
            return {"state": "preparing", "message": describe(event)}
        case Started(step, total_steps, epochs, steps_per_epoch, device, precision):
            return {
                "state": "running",
                "step": step,
                "total_steps": total_steps,
                "epoch": step / steps_per_epoch,
                "epochs": epochs,
                "device": device,
                "precision": precision,
                "message": "",
            }
        case StepLogged(step, epoch, metrics, images_per_s, memory, eta_s):
            return {
                "step": step,
                "epoch": epoch,
                "loss": metrics.get("total"),
                "images_per_s": images_per_s,
                "memory": memory,
                "eta_s": eta_s,
            }
        case EpochFinished(epoch, step, _):
            return {"step": step, "epoch": float(epoch)}
        case Validated(epoch, _, metrics, True, best) if best:
            return {"best": metrics[best], "best_metric": best.removeprefix("validation/"), "best_epoch": epoch}
        case Warned(_, message):
            return {} if message in status.warnings else {"warnings": (*status.warnings, message)}
        case Ended(state, step, message):
            return {"state": state, "step": step, "message": message, "eta_s": None}
    return {}


def _metrics_record(event: StepLogged | EpochFinished) -> dict[str, Any]:
    """Return the line of metrics.jsonl for `event`."""
    record: dict[str, Any] = {
        "kind": "step" if isinstance(event, StepLogged) else "epoch",
        "step": event.step,
        "epoch": event.epoch,
        **event.metrics,
    }
    if isinstance(event, StepLogged):
        record |= {"images_per_s": event.images_per_s, "memory": event.memory}
    return record | {"time": time.time()}
