"""What is known of labelled images before training, answered without loading torch."""

from __future__ import annotations

from typing import Any

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled import inspect

Answer = dict[str, Any]


def inspect_labelled(settings: dict[str, Any], device: str = "auto") -> Answer:
    """Look through the labelled images of fine-tuning `settings`; see :mod:`napari_sdmae.data.labelled.inspect`."""
    return inspect.inspect_labelled(FinetuneConfig.model_validate(settings))
