"""Where a model computes: nothing falls back to the CPU without a word."""

from __future__ import annotations

from typing import Literal, NamedTuple, cast, get_args

import psutil
import torch

from napari_sdmae.config.base import Device
from napari_sdmae.devices.info import DeviceInfo
from napari_sdmae.devices.mps import mps_fault

Kind = Literal["cpu", "cuda", "mps"]


class DeviceError(ValueError):
    """The device that was asked for cannot be used; the message says why and what to do."""


class DeviceChoice(NamedTuple):
    """A kind of device, and one line that says why it was chosen."""

    device: Kind
    reason: str


def select_device(requested: str = "auto") -> DeviceChoice:
    """Return the device to compute on: for auto an NVIDIA GPU, else an Apple GPU that passes its self-test, else the CPU.

    Raises
    ------
    DeviceError
        If the device asked for is unknown, not there, or fails its self-test.
    """
    if requested not in get_args(Device):
        raise DeviceError(f"unknown device {requested!r}; choose one of {', '.join(get_args(Device))}")
    if requested == "auto":
        return _best()
    if (fault := _fault(requested)) is not None:
        usable = [kind for kind in get_args(Kind) if _fault(kind) is None]
        raise DeviceError(f"device {requested} is not usable here ({fault}); choose {' or '.join(usable)}")
    kind = cast(Kind, requested)
    return DeviceChoice(kind, f"{_name(kind)} as asked")


def list_devices() -> list[DeviceInfo]:
    """Return the usable devices, the CPU first."""
    found = [DeviceInfo("cpu", "CPU", psutil.virtual_memory().total)]
    if _fault("cuda") is None:
        properties = torch.cuda.get_device_properties(0)
        found.append(DeviceInfo("cuda", properties.name, properties.total_memory))
    if _fault("mps") is None:
        found.append(DeviceInfo("mps", "Apple GPU", None))
    return found


def device_name(device: torch.device) -> str:
    """Return the name of `device` for people: ``cpu``, ``mps``, or ``cuda:0 NVIDIA …``."""
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def _best() -> DeviceChoice:
    if (no_cuda := _fault("cuda")) is None:
        return DeviceChoice("cuda", f"{_name('cuda')}: chosen as there is one")
    if (no_mps := _fault("mps")) is None:
        return DeviceChoice("mps", f"{_name('mps')}: passed its self-test")
    return DeviceChoice("cpu", f"CPU: {no_cuda}; {no_mps}")


def _name(kind: Kind) -> str:
    return torch.cuda.get_device_name() if kind == "cuda" else {"cpu": "CPU", "mps": "Apple GPU"}[kind]


def _fault(kind: str) -> str | None:
    """Return why this kind of device cannot be used, as far as torch knows, or None if it can."""
    if kind == "mps":
        return mps_fault()
    if kind == "cpu" or torch.cuda.is_available():
        return None
    return "this torch is built without CUDA" if torch.version.cuda is None else "no usable NVIDIA GPU"
