"""What both kinds of training show before they start."""

from __future__ import annotations

from typing import Any

from napari_sdmae.humanize import size


def device_line(devices: dict[str, Any], wanted: str) -> str:
    """Return on what a run with device `wanted` trains, or that there is no such device."""
    name = devices["default"] if wanted == "auto" else wanted
    device = next((one for one in devices["devices"] if str(one["device"]).partition(":")[0] == name), None)
    if device is None:
        return f"device: this machine has no {name}; choose another"
    words = [name] if str(device["name"]).lower() in ("", name) else [name, str(device["name"])]
    if name == "cpu":
        words.append(f"{devices['threads']} threads")
    elif device["memory"]:
        words.append(f"{size(device['memory'])} memory")
    return "device: " + ", ".join(words)
