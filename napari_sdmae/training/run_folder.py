"""The run folder: the only thing a job and those who watch it share. Imports no torch.

A job writes the folder, anybody who can see it reads it, on this machine or over a shared disk. Layout::

    config.yaml  command.txt  environment.json      what repeats the run
    status.json  metrics.jsonl  log.txt             how it goes
    previews/  checkpoints/  model/                 what it made
    report.json                                     of fine-tuning: how good the selected head is
    tensorboard/                                    the losses once more, if asked for
    quarantine.csv                                  files that could not be used, and why
    control                                         what a watcher asks for: stop | pause | cancel
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

import psutil

from napari_sdmae.config import PretrainConfig, read_yaml
from napari_sdmae.finetune_config import FinetuneConfig
from napari_sdmae.io.files import write_atomically
from napari_sdmae.training.metrics_reader import MetricsReader
from napari_sdmae.training.status import HEARTBEAT_S, SILENCE_S, RunStatus, State, is_alive, restarted

__all__ = [
    "HEARTBEAT_S",
    "SILENCE_S",
    "MetricsReader",
    "Request",
    "RunFolder",
    "RunFolderError",
    "RunStatus",
    "State",
    "is_alive",
    "list_runs",
]

Request = Literal["stop", "pause", "cancel"]

RunConfig = PretrainConfig | FinetuneConfig
"""Settings of a run of either kind; those of fine-tuning have a ``task``."""

CLAIM_S = 10.0
"""A claim takes milliseconds: one that is older was left by a process that died in it."""


class RunFolderError(ValueError):
    """The folder cannot be used as asked; the message says why and what to do."""


class RunFolder:
    """One run folder: names its files, reads and writes them.

    Parameters
    ----------
    path
        The folder; it need not exist yet.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.command = self.path / "command.txt"
        self.environment = self.path / "environment.json"
        self.status_file = self.path / "status.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.log = self.path / "log.txt"
        self.previews_folder = self.path / "previews"
        self.checkpoints_folder = self.path / "checkpoints"
        self.model = self.path / "model"
        self.tensorboard = self.path / "tensorboard"
        self.report = self.path / "report.json"
        self.quarantine = self.path / "quarantine.csv"
        self.control = self.path / "control"

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def exists(self) -> bool:
        """Return whether this is the folder of a run."""
        return self.config.is_file() and self.status_file.is_file()

    def read_config(self) -> RunConfig:
        """Return the settings of the run: of fine-tuning if they name a task, else of pre-training.

        Raises
        ------
        RunFolderError
            If this is not the folder of a run.
        """
        if not self.config.is_file():
            raise RunFolderError(f"{self.path} is not a run folder: it has no config.yaml")
        values = read_yaml(self.config)
        kind = FinetuneConfig if isinstance(values, dict) and "task" in values else PretrainConfig
        return kind.model_validate(values)

    # --- status -------------------------------------------------------------------------------------------------

    def status(self) -> RunStatus | None:
        """Return the status, with state ``interrupted`` where the job died without a word; None where there is none."""
        try:
            status = RunStatus.model_validate_json(self.status_file.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        died = status.state in ("preparing", "running") and not is_alive(status)
        return status.model_copy(update={"state": "interrupted"}) if died else status

    def write_status(self, status: RunStatus) -> None:
        """Replace the status, so that a reader sees the old one or the new one, never a half.

        On a full disk it is written over the old one, which needs no space: a run that fails there must be able to say so.
        """
        text = status.model_dump_json(indent=1).encode()
        try:
            write_atomically(self.status_file, text)
        except OSError:
            with self.status_file.open("r+b") as file:
                file.write(text)
                file.truncate()

    def claim(self, config: RunConfig, *, resume: bool) -> RunStatus:
        """Make the folder this process's own, as a new run of `config` or to go on with one; return its first status.

        Raises
        ------
        RunFolderError
            If a new run finds anything in the folder but a run that ended before it saved anything, if there is nothing to
            resume, if the settings are not those the run began with, or if another job is alive in it.
        """
        if not resume:
            self.require_free()
        elif changed := _changed_settings(self.read_config(), config):
            raise RunFolderError(
                f"{self.path} began with other settings ({', '.join(changed)}); resume it with its own "
                "config.yaml, or start a new run in another folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with self._alone():
            earlier = self.status()
            if earlier is not None and is_alive(earlier) and earlier.pid != os.getpid():
                raise RunFolderError(
                    f"{self.path} is in use by process {earlier.pid} on {earlier.host}; end that first: sdmae pause {self.path}"
                )
            self.control.unlink(missing_ok=True)
            if not resume:
                self._clear()
                write_atomically(self.config, config.to_yaml().encode())
            status = restarted(earlier) if resume and earlier is not None else RunStatus(state="preparing")
            self.write_status(status)
        return status

    def require_free(self) -> None:
        """Refuse a folder with anything in it, but a run that made nothing: nothing is overwritten.

        Raises
        ------
        RunFolderError
            If it is not free.
        """
        if self._made_nothing():
            return
        if self.exists():
            raise RunFolderError(
                f"{self.path} holds a run already; `sdmae resume {self.path}` goes on with it, or choose another --output"
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunFolderError(f"{self.path} is not empty, and nothing is overwritten; choose another --output")

    def _made_nothing(self) -> bool:
        """Return whether the run in the folder ended before it saved anything, so that its name is free again."""
        status, kept = self.status(), (self.model, *self.checkpoints_folder.glob("step-*"))
        ended = status is not None and status.state in ("failed", "stopped", "cancelled")
        return self.exists() and ended and not any(path.exists() for path in kept)

    def _clear(self) -> None:
        """Remove what such a run wrote about itself; whatever else lies in the folder stays."""
        for path in (self.command, self.environment, self.metrics_file, self.log, self.report, self.quarantine):
            path.unlink(missing_ok=True)
        for path in (self.previews_folder, self.tensorboard):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second process out between looking at the status and writing it (milliseconds)."""
        lock = self.path / ".claim.tmp"
        if lock.exists() and not _is_held(lock):
            lock.unlink(missing_ok=True)
        try:
            with lock.open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            raise RunFolderError(f"{self.path} is being opened by another process at this moment; try again") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)

    # --- control ------------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Ask the job to end: ``stop`` and keep the model, ``pause``, or ``cancel``."""
        write_atomically(self.control, request.encode())

    def asked(self) -> Request | None:
        """Return what a watcher asks for, or None."""
        try:
            word = self.control.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        return cast(Request, word) if word in get_args(Request) else None

    # --- metrics ------------------------------------------------------------------------------------------------

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append one record to metrics.jsonl."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def cut_metrics(self, step: int, *, open_epoch: bool = False) -> None:
        """Drop the records past `step`, and a last line that was cut by a crash, so that a resumed run doubles none.

        With `open_epoch` the epoch that ends at `step` was not closed yet: its record is dropped as well.
        """
        if self.metrics_file.exists():
            records = [record for record in self.metrics() if record["step"] <= step]
            kept = [
                json.dumps(one) + "\n" for one in records if not (open_epoch and one["kind"] == "epoch" and one["step"] == step)
            ]
            write_atomically(self.metrics_file, "".join(kept).encode())

    def metrics(self) -> list[dict[str, Any]]:
        """Return all records written so far."""
        reader = MetricsReader(self.metrics_file)
        reader.update()
        return reader.records

    # --- what the run made --------------------------------------------------------------------------------------

    def previews(self) -> list[Path]:
        """Return the preview files (.npz), oldest first."""
        return sorted(self.previews_folder.glob("epoch-*.npz"))

    def checkpoint(self, step: int) -> Path:
        """Return where the checkpoint of `step` is or would be."""
        return self.checkpoints_folder / f"step-{step:06d}"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint folders, oldest first."""
        found = [path for path in self.checkpoints_folder.glob("step-*") if path.name[5:].isdigit()]
        return sorted(found, key=lambda path: int(path.name[5:]))

    def last_saved_step(self) -> int:
        """Return the step of the newest checkpoint, 0 where there is none."""
        return int(self.checkpoints()[-1].name[5:]) if self.checkpoints() else 0

    def remove_leftovers(self) -> None:
        """Remove what a killed job left half-written."""
        for folder in (self.path, self.checkpoints_folder, self.previews_folder, self.model):
            for path in folder.glob(".*.tmp*") if folder.is_dir() else ():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def list_runs(folder: Path) -> list[RunFolder]:
    """Return the runs in `folder`, oldest first; `folder` may be a run itself."""
    folder = Path(folder)
    places = [folder, *folder.iterdir()] if folder.is_dir() else []
    runs = [(status.started, str(run.path), run) for run in map(RunFolder, places) if (status := run.status()) is not None]
    return [run for _, _, run in sorted(runs, key=lambda item: item[:2])]


def _is_held(lock: Path) -> bool:
    """Return whether the process that made `lock` may still be in its claim, and not dead."""
    try:
        fresh, owner = time.time() - lock.stat().st_mtime < CLAIM_S, lock.read_text()
    except FileNotFoundError:
        return False
    return fresh and (not owner or psutil.pid_exists(int(owner)))


def _changed_settings(before: RunConfig, now: RunConfig) -> list[str]:
    """Return the names of the settings that differ, nested ones by group."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    return [name for name in new if name not in old or old[name] != new[name]]
