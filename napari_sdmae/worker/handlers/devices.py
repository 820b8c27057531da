"""The devices of this machine."""

from __future__ import annotations

import torch

from napari_sdmae.devices.select import list_devices, select_device
from napari_sdmae.worker.protocol.pictures import DevicesRequest, DevicesResult


def devices(request: DevicesRequest) -> DevicesResult:
    """List the devices and the one that ``auto`` means."""
    return DevicesResult(tuple(list_devices()), select_device().device, torch.get_num_threads())
