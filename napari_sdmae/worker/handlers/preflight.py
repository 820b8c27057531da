"""What is known before training: the images, answered without loading torch, and the memory that training needs."""

from __future__ import annotations

from typing import Any

import psutil

from napari_sdmae.config.base import Device, Precision
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.labelled import inspect as labelled_images
from napari_sdmae.data.tiles import inspect as images
from napari_sdmae.humanize import size

Answer = dict[str, Any]


def inspect(settings: dict[str, Any], device: str = "auto") -> Answer:
    """Look through the folder of pre-training `settings`; see :func:`napari_sdmae.data.tiles.inspect.inspect`."""
    config = PretrainConfig.model_validate(settings)
    found = images.inspect(config.data, config.tiles)
    return {**found.to_dict(), "summary": found.summary()}


def training_memory(settings: dict[str, Any], tiles: int | None = None, device: str = "auto") -> Answer:
    """Estimate what training with `settings` on `tiles` tiles needs on its device; a question of its own, as it loads torch.

    Returns
    -------
    dict
        ``training_memory`` and ``free_training_memory`` in bytes, the ``training_device``, the ``tiles_at_once`` that fit,
        and ``line`` for people, which says what to do when it is too much.
    """
    from napari_sdmae.models.memory_estimate import training_memory as estimate

    config = PretrainConfig.model_validate(settings)
    place, free = _device(config.device)
    needed = estimate(config, explicit=place == "cpu", bf16=_runs_in_bf16(config.precision, place), tiles=tiles)
    fitting = needed.fitting(free)
    return {
        "training_memory": needed.total,
        "free_training_memory": free,
        "training_device": place,
        "tiles_at_once": fitting,
        "line": _line(needed.total, free, place, fitting, fitting < needed.tiles),
    }


def _device(asked: Device) -> tuple[str, int]:
    """Return the device of a run and its free memory in bytes."""
    import torch

    from napari_sdmae.devices.select import select_device

    device = select_device(asked).device
    return device, int(torch.cuda.mem_get_info()[0]) if device == "cuda" else psutil.virtual_memory().available


def _runs_in_bf16(precision: Precision, device: str) -> bool:
    """Return whether a run takes bf16; what auto means on a CPU is only known after the run's probe, so the larger is taken."""
    return precision == "bf16" or (precision == "auto" and device == "cuda")


def _line(needed: int, free: int, device: str, fitting: int, short: bool) -> str:
    where = "GPU memory" if device == "cuda" else "memory"
    line = f"training needs about {size(needed)} of {where} ({size(free)} free)"
    if not short:
        return line
    if fitting == 0:
        return f"{line}: too much even with one tile at once; choose a smaller model or tile size"
    return f"{line}: too much; set “Tiles at once” (micro_batch) to {fitting} or less: the batch is then computed in parts"


def inspect_labelled(settings: dict[str, Any], device: str = "auto") -> Answer:
    """Look through the labelled images of fine-tuning `settings`; see :mod:`napari_sdmae.data.labelled.inspect`."""
    return labelled_images.inspect_labelled(FinetuneConfig.model_validate(settings))
