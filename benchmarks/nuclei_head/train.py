"""One round of training, by the same function as ``sdmae finetune``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import NamedTuple

from collect import MPP, Picture

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.runs.events import Ended, EpochFinished, Warned
from napari_sdmae.training import RunFolder, finetune

VALIDATION = ("likeness-2", "likeness-4", "hgsc-lower")
"""Groups of outlined pictures that choose epoch and thresholds: two kinds of staining of which no picture is trained on."""


class Round(NamedTuple):
    """One head of the campaign: its name, and how long it is trained, minutes."""

    name: str
    minutes: float


def train(this: Round, run: Path, hand: list[Picture], tissue: list[Picture], teacher: dict[Path, Path], model: str) -> Path:
    """Train a head from `model`, or go on where it was killed; return its folder."""
    folder = RunFolder(run)
    if folder.report.exists():
        return folder.path
    table = run.with_suffix(".csv")
    _write_table(table, hand, tissue, teacher)
    config = FinetuneConfig.from_preset(
        "nuclei",
        data=str(table),
        model=model,
        minutes=this.minutes,
        preview_every=1000,
        augmentation={"crop_scale": [0.25, 1.0], "stain_jitter": 0.3},
    )
    for event in finetune(config, run=run, resume=folder.config.exists()):
        if isinstance(event, EpochFinished | Warned | Ended):
            print(event, file=sys.stderr, flush=True)
    return folder.path


def _write_table(table: Path, hand: list[Picture], tissue: list[Picture], teacher: dict[Path, Path]) -> None:
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "mask", "mpp", "slide", "split"])
        for one in hand:
            part = "validation" if one.group in VALIDATION else "train"
            rows.writerow([one.path.absolute(), one.labels and one.labels.absolute(), MPP, one.group, part])
        for one in tissue:
            rows.writerow([one.path.absolute(), teacher[one.path].absolute(), MPP, one.group, "train"])
