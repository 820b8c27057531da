"""Small heads with random weights, shared by the tests of heads."""

from __future__ import annotations

from typing import Any

import torch

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.models.heads.head_model import HeadModel

ENCODER: dict[str, Any] = {
    "architecture": "vit_tiny_patch16_224", "tile_size": 64, "patch_size": 16, "width": 48, "heads": 3, "depth": 4,
}  # fmt: skip


def settings(
    task: str, *, head: dict[str, Any] | None = None, encoder: dict[str, Any] | None = None, **changes: Any
) -> FinetuneConfig:
    """Return settings for a head of `task` on a tiny encoder from scratch."""
    values = {"task": task, "data": "labels", "head": {"width": 32} | (head or {}), "encoder": ENCODER | (encoder or {})}
    return FinetuneConfig.model_validate(values | changes)


def tiny_head(task: str, classes: int = 3, **changes: Any) -> HeadModel:
    """Return a new head in eval mode with `classes` classes; keywords as in :func:`settings`."""
    first = 1 if task in ("instances", "detection") else 0
    return new_head(settings(task, **changes), make_classes([f"class {n}" for n in range(classes)], first)).eval()


def noise(model: HeadModel, batch: int = 1, rows: int = 4, columns: int = 4) -> torch.Tensor:
    """Return random normalised images of rows × columns patches."""
    patch = model.spec.encoder.patch_size
    pixels = torch.randint(0, 256, (batch, rows * patch, columns * patch, 3), dtype=torch.uint8)
    return model.normalise(pixels)
