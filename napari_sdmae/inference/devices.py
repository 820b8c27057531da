"""Where the worker and the command line compute."""

from __future__ import annotations

from typing import Any, get_args

import psutil
import torch

from napari_sdmae.config.base import Device
from napari_sdmae.models.apple_gpu import mps_fault


def choose_device(asked: str = "auto") -> str:
    """Return ``cpu``, ``cuda`` or ``mps``; auto is an NVIDIA GPU, else an Apple GPU that passes its self-test, else the CPU.

    Raises
    ------
    ValueError
        If the device asked for is not there: nothing falls back to the CPU silently.
    """
    if asked not in get_args(Device):
        raise ValueError(f"unknown device {asked!r}; choose one of {', '.join(get_args(Device))}")
    there = [device["device"] for device in devices()]
    if asked == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if device in there)
    if asked not in there:
        raise ValueError(f"device {asked} is not usable here; there is: {', '.join(there)}")
    return asked


def devices() -> list[dict[str, Any]]:
    """Return the usable devices: ``device``, ``name`` and ``memory`` in bytes (None where the system does not say)."""
    found: list[dict[str, Any]] = [{"device": "cpu", "name": "CPU", "memory": psutil.virtual_memory().total}]
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found.append({"device": "cuda", "name": properties.name, "memory": properties.total_memory})
    if mps_fault() is None:
        found.append({"device": "mps", "name": "Apple GPU", "memory": None})
    return found
