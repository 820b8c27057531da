"""Pre-training as a job: engine, run folder, events. The names below are imported on first use, since the engine needs torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sdmae.training.pretraining import pretrain
    from napari_sdmae.training.run_folder import RunFolder, list_runs

__all__ = ["RunFolder", "list_runs", "pretrain"]


def __getattr__(name: str) -> Any:
    """Import `name` from its module."""
    if name == "pretrain":
        return import_module("napari_sdmae.training.pretraining").pretrain
    if name in ("RunFolder", "list_runs"):
        return getattr(import_module("napari_sdmae.training.run_folder"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
