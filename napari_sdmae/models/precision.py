"""bf16 where it works: the forward pass in it, and whether a device can."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from napari_sdmae.config import Precision


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which the forward pass runs; bf16 needs no gradient scaler."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def works_in_bf16(device: torch.device) -> bool:
    """Return whether bf16 autocast computes at all on `device`."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            square = torch.ones(8, 8, device=device)
            return bool(torch.isfinite(square @ square).all().item())
    except (RuntimeError, TypeError):
        return False
