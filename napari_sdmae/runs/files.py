"""The files of a run folder, the only thing a job and those who watch it share. Imports no torch.

A job writes the folder, anybody who can see it reads it, on this machine or over a shared disk. Layout::

    config.yaml  command.txt  environment.json      what repeats the run
    status.json  metrics.jsonl  log.txt             how it goes
    previews/  checkpoints/  model/                 what it made
    report.json                                     of fine-tuning: how good the selected head is
    tensorboard/                                    the losses once more, if asked for
    quarantine.csv                                  files that could not be used, and why
    control                                         what a watcher asks for: stop | pause | cancel
    .owner/                                         which jobs worked in it; the last one owns it

All of them are regular files and real folders: nothing is written through a link, and nothing waits at a FIFO.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.io.regular_files import IrregularFileError, append_regular, is_regular, kind_of, read_regular, require_kinds
from napari_sdmae.runs.metrics_log import MetricsReader
from napari_sdmae.runs.ownership.job_numbers import OWNERS, RunFolderError
from napari_sdmae.runs.ownership.leftovers import remove_leftovers
from napari_sdmae.text.documents import DocumentError, decode, parse_json, parse_yaml

RunConfig = PretrainConfig | FinetuneConfig
"""Settings of a run of either kind; those of fine-tuning have a ``task``."""

LARGEST_CONFIG = 1_000_000


class RunFiles:
    """Names the files of a run, reads its settings and metrics, finds what it made.

    Parameters
    ----------
    path
        The folder; it need not exist yet.
    """

    def __init__(self, path: Path | str) -> None:
        self._name(Path(path))

    def _name(self, path: Path) -> None:
        """Name all that is in the folder at `path`."""
        self.path = path
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
        return f"{type(self).__name__}({str(self.path)!r})"

    def exists(self) -> bool:
        """Return whether this is the folder of a run."""
        return is_regular(self.config) and is_regular(self.status_file)

    def check_kinds(self) -> None:
        """Refuse links, FIFOs and the like under the names of a run, through which a job would write elsewhere, or hang.

        Raises
        ------
        RunFolderError
            If there is one.
        """
        log = (self.command, self.environment, self.status_file, self.metrics_file, self.log)
        folders = (self.previews_folder, self.checkpoints_folder, self.model, self.tensorboard, self.path / OWNERS)
        try:
            require_kinds((self.config, *log, self.report, self.quarantine, self.control), folders)
        except IrregularFileError as error:
            raise RunFolderError(str(error)) from None

    def read_config(self) -> RunConfig:
        """Return the settings of the run: of fine-tuning if they name a task, else of pre-training.

        Raises
        ------
        RunFolderError
            If this is not the folder of a run, or its settings are no regular file or no YAML.
        ValidationError
            If they are no settings.
        """
        if kind_of(self.config) is None:
            raise RunFolderError(f"{self.path} is not a run folder: it has no config.yaml")
        try:
            values = parse_yaml(decode(read_regular(self.config, LARGEST_CONFIG)))
        except IrregularFileError as error:
            raise RunFolderError(str(error)) from None
        except DocumentError as error:
            raise RunFolderError(f"{self.config}, {error}") from None
        kind = FinetuneConfig if isinstance(values, dict) and "task" in values else PretrainConfig
        return kind.model_validate(values)

    def read_report(self) -> dict[str, Any]:
        """Return report.json of a run of fine-tuning.

        Raises
        ------
        ValueError
            If it is none.
        OSError
            If it is not there, or cannot be read.
        """
        report = parse_json(read_regular(self.report))
        if not isinstance(report, dict):
            raise ValueError(f"{self.report} holds no report")
        return report

    # --- metrics ------------------------------------------------------------------------------------------------

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append one record to metrics.jsonl."""
        append_regular(self.metrics_file, json.dumps(record) + "\n")

    def cut_metrics(self, step: int, *, open_epoch: bool = False) -> None:
        """Drop the records past `step`, and a last line that was cut by a crash, so that a resumed run doubles none.

        With `open_epoch` the epoch that ends at `step` was not closed yet: its record is dropped as well.
        """
        if is_regular(self.metrics_file):
            records = [record for record in self.metrics() if record["step"] <= step]
            kept = [
                json.dumps(one) + "\n" for one in records if not (open_epoch and one["kind"] == "epoch" and one["step"] == step)
            ]
            write_atomically(self.metrics_file, "".join(kept).encode())

    def metrics(self) -> list[dict[str, Any]]:
        """Return all records written so far."""
        reader = MetricsReader(self.metrics_file)
        while reader.update():
            pass
        return reader.records

    # --- what the run made --------------------------------------------------------------------------------------

    def previews(self) -> list[Path]:
        """Return the preview files (.npz), oldest first."""
        return sorted(path for path in self.previews_folder.glob("epoch-*.npz") if is_regular(path))

    def checkpoint(self, step: int) -> Path:
        """Return where the checkpoint of `step` is or would be."""
        return self.checkpoints_folder / f"step-{step:06d}"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint folders, oldest first."""
        found = [path for path in self.checkpoints_folder.glob("step-*") if path.name[5:].isdecimal() and len(path.name) < 25]
        return sorted(found, key=lambda path: int(path.name[5:]))

    def last_saved_step(self) -> int:
        """Return the step of the newest checkpoint, 0 where there is none."""
        return int(self.checkpoints()[-1].name[5:]) if self.checkpoints() else 0

    def remove_leftovers(self) -> None:
        """Remove what a killed job left half-written."""
        remove_leftovers((self.path, self.checkpoints_folder, self.previews_folder, self.model))
