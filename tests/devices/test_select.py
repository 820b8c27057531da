"""Which device is chosen, and why."""

import torch

from napari_sdmae.devices.mps import mps_fault
from napari_sdmae.devices.select import select_device


def test_auto_says_why_it_took_the_cpu():
    if torch.cuda.is_available() or mps_fault() is None:
        assert select_device("auto")[0] in ("cuda", "mps")
        return
    kind, reason = select_device("auto")
    assert kind == "cpu"
    assert "NVIDIA" in reason or "without CUDA" in reason
