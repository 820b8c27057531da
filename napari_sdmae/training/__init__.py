"""Pre-training and fine-tuning as jobs: engines, run folder, events. The names below are imported on first use (torch)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sdmae.training.finetuning import finetune
    from napari_sdmae.training.pretraining import pretrain
    from napari_sdmae.training.run_folder import RunFolder
    from napari_sdmae.training.run_list import list_runs

HOMES = {"finetune": "finetuning", "pretrain": "pretraining", "RunFolder": "run_folder", "list_runs": "run_list"}

__all__ = ["RunFolder", "finetune", "list_runs", "pretrain"]


def __getattr__(name: str) -> Any:
    """Import `name` from its module."""
    if name in HOMES:
        return getattr(import_module(f"napari_sdmae.training.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
