"""What a device is, in words and numbers. Torch-free, so that the viewer can show it."""

from __future__ import annotations

from typing import NamedTuple


class DeviceInfo(NamedTuple):
    """A usable device: cpu, cuda or mps, its name, and its memory in bytes (None where the system does not say)."""

    device: str
    name: str
    memory: int | None
