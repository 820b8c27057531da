"""What a run folder trains: pre-training, or a head on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from napari_sdmae.io.regular_files import read_regular
from napari_sdmae.runs.files import LARGEST_CONFIG
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.text.documents import DocumentError, decode

Kind = Literal["pretrain", "finetune"]

NAMES: dict[Kind, tuple[str, str]] = {"pretrain": ("pre-training", "Pre-train"), "finetune": ("fine-tuning", "Fine-tune")}
"""What each kind is called, and the dock widget that shows it."""


def run_kind(run: Path) -> Kind | None:
    """Return what the run in `run` trains, None where nobody has written it down yet.

    The settings of fine-tuning name their task; reading them in full for every run of a list would take seconds.
    """
    try:
        lines = decode(read_regular(RunFolder(run).config, LARGEST_CONFIG)).splitlines()
    except (OSError, DocumentError):
        return None
    return "finetune" if any(line.startswith("task:") for line in lines) else "pretrain"
