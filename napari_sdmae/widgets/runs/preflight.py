"""What both kinds of training show before they start."""

from __future__ import annotations

from napari_sdmae.humanize import size
from napari_sdmae.worker.protocol import DevicesResult


def device_line(devices: DevicesResult, wanted: str) -> str:
    """Return on what a run with device `wanted` trains, or that there is no such device."""
    name = devices.default if wanted == "auto" else wanted
    device = next((one for one in devices.devices if one.device == name), None)
    if device is None:
        return f"device: this machine has no {name}; choose another"
    words = [name] if device.name.lower() in ("", name) else [name, device.name]
    if name == "cpu":
        words.append(f"{devices.threads} threads")
    elif device.memory:
        words.append(f"{size(device.memory)} memory")
    return "device: " + ", ".join(words)
