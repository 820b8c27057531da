"""bf16 where it works: the forward pass in it, and whether a device can."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from napari_sdmae.config.base import Precision

FEWEST = 3
"""Steps in each arithmetic that a probe compares at least."""
FILLING = 64
"""A GPU is probed with so many times the images of a CPU: a few do not fill it, and the start of its kernels would be timed."""


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


def probed_images(device: torch.device, count: int) -> int:
    """Return how many images a probe takes on `device`, `count` on a CPU."""
    return count if device.type == "cpu" else FILLING * count


def gain_of_bf16(step: Callable[[Precision], None], seconds: float) -> float:
    """Return how many times faster `step` runs in bf16 than in fp32: the fastest of each, in turns, for about `seconds`.

    In turns and at least three times each: on a machine that does other work as well, a slow moment hits both alike.
    """
    times: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    end = time.perf_counter() + seconds
    while len(times["bf16"]) <= FEWEST or time.perf_counter() < end:
        for precision, taken in times.items():
            start = time.perf_counter()
            step(precision)
            taken.append(time.perf_counter() - start)
    fp32, bf16 = (min(taken[1:]) for taken in times.values())  # the first of each prepares kernels and memory
    return fp32 / bf16
