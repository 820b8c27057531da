"""Whether pre-training fits into the memory of its device: asked before it starts, by the dock and by ``sdmae inspect``."""

from __future__ import annotations

import psutil
import torch

from napari_sdmae.config.base import Device, Precision
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.devices.select import select_device
from napari_sdmae.humanize import size
from napari_sdmae.models.memory_estimate import training_memory
from napari_sdmae.runs.preflight import MemoryNeed


def memory_need(config: PretrainConfig, tiles: int | None = None) -> MemoryNeed:
    """Estimate what training with `config` on `tiles` tiles, where their number is known, takes on its device.

    Raises
    ------
    ValueError
        If the device is not there, or the model cannot be built.
    """
    device, free = _device(config.device)
    estimate = training_memory(config, explicit=device == "cpu", bf16=_runs_in_bf16(config.precision, device), tiles=tiles)
    fitting = estimate.fitting(free)
    line = _line(estimate.total, free, device, fitting, fitting < estimate.tiles)
    return MemoryNeed(estimate.total, free, device, fitting, line)


def _device(requested: Device) -> tuple[str, int]:
    """Return the device of a run and its free memory in bytes."""
    device = select_device(requested).device
    return device, int(torch.cuda.mem_get_info()[0]) if device == "cuda" else psutil.virtual_memory().available


def _runs_in_bf16(precision: Precision, device: str) -> bool:
    """Return whether a run takes bf16; what auto means on a CPU is only known after the run's probe, so the larger is taken."""
    return precision == "bf16" or (precision == "auto" and device == "cuda")


def _line(needed: int, free: int, device: str, fitting: int, short: bool) -> str:
    where = "GPU memory" if device == "cuda" else "memory"
    if not short:
        return f"training needs about {size(needed)} of {where} ({size(free)} free)"
    line = f"not enough {where} (needs {size(needed)}, {size(free)} free)"
    if fitting == 0:
        return f"{line}, even with one tile at once: choose a smaller model or tile size"
    return f"{line}: set “Tiles at once” (micro_batch) to {fitting} or less"
