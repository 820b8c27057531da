"""Pre-training and fine-tuning as jobs: engines, run folder, events. The names below are imported on first use (torch)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sdmae.runs import RunFolder, list_runs
    from napari_sdmae.training.finetuning.finetune import finetune
    from napari_sdmae.training.pretraining.pretrain import pretrain

HOMES = {
    "finetune": "training.finetuning.finetune",
    "pretrain": "training.pretraining.pretrain",
    "RunFolder": "runs",
    "list_runs": "runs",
}

__all__ = ["RunFolder", "finetune", "list_runs", "pretrain"]


def __getattr__(name: str) -> Any:
    """Import `name` from its module."""
    if name in HOMES:
        return getattr(import_module(f"napari_sdmae.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
