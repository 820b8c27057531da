"""In which arithmetic a model computes: bf16 where a short probe of this machine shows that it pays.

bf16 halves the time on GPUs and on CPUs with bf16 units and lengthens it on others, and names of machines do not tell. For
training the probe times two blocks of a small ViT forward and backward, for prediction two blocks of a ViT-S forward only;
bf16 must be at least 1.15 times as fast. A GPU gets 64 times as many images, as a few would time the start of its kernels.
Without AVX512_BF16 an AMD EPYC gave a factor of 1.0 or less. A bf16 run stays within 2 % of the fp32 losses; probabilities
differ by less than 0.03. Watershed, arg-max, measurements and boxes are always computed in fp32 or better. Attention is
explicit on the CPU in training, where the backward pass of the fused kernel is 5 to 10 times slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer

from napari_sdmae.config.base import Precision

GAIN = 1.15
"""bf16 must be faster by this factor, or its coarser numbers are not worth it."""
FEWEST = 3
"""Steps in each arithmetic that a probe compares at least."""
HOPELESS = 0.25
"""So slow a first step in bf16 is no slow moment: on a CPU without bf16 units, where it takes seconds, the probe ends there."""
FILLING = 64
"""A GPU is probed with so many times the images of a CPU: a few do not fill it, and the start of its kernels would be timed."""
TRAINING_SECONDS, ANSWERING_SECONDS = 0.8, 0.5
"""Time given to a probe, both arithmetics together."""


class PrecisionChoice(NamedTuple):
    """``fp32`` or ``bf16``, and one line that says why it was chosen."""

    precision: Precision
    reason: str


def select_precision(requested: Precision, device: torch.device, *, training: bool) -> PrecisionChoice:
    """Return the arithmetic for `training`, forward and backward, or else for the forward pass alone.

    Raises
    ------
    ValueError
        If bf16 was asked for on a device that cannot compute in it.
    """
    if requested == "fp32":
        return PrecisionChoice("fp32", "fp32 as asked")
    if not works_in_bf16(device):
        if requested == "bf16":
            raise ValueError(f"precision bf16 does not work on {device.type} here; choose fp32 or auto")
        return PrecisionChoice("fp32", f"fp32: {device.type} cannot compute in bf16")
    if requested == "bf16":
        return PrecisionChoice("bf16", "bf16 as asked")
    gain = training_gain(device.type) if training else answering_gain(device.type)
    chosen: Precision = "bf16" if gain >= GAIN else "fp32"
    return PrecisionChoice(chosen, f"{chosen}: bf16 runs at {gain:.2f} times the speed of fp32 here")


def answering(device: torch.device, requested: Precision = "auto") -> AbstractContextManager[object]:
    """Return the context in which `device` answers: fp32, bf16, or what the probe chose; errors as `select_precision`."""
    return autocast(device, select_precision(requested, device, training=False).precision)


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


@cache
def training_gain(kind: str, seconds: float = TRAINING_SECONDS) -> float:
    """Return how many times faster a small ViT trains in bf16 than in fp32 on this kind of device; takes about `seconds`."""
    device = torch.device(kind)
    model = VisionTransformer(img_size=64, patch_size=8, embed_dim=192, depth=2, num_heads=3, num_classes=0).to(device)
    for block in model.blocks:
        block.attn.fused_attn = device.type != "cpu"
    images = torch.rand(_probed_images(device, 8), 3, 64, 64, device=device)
    return gain_of_bf16(lambda precision: _train(model, images, precision), seconds)


@cache
def answering_gain(kind: str, seconds: float = ANSWERING_SECONDS) -> float:
    """Return how many times faster two blocks of a ViT answer in bf16 than in fp32 on this kind of device."""
    device = torch.device(kind)
    model = VisionTransformer(img_size=112, embed_dim=384, depth=2, num_heads=6, num_classes=0).to(device).eval()
    images = torch.rand(_probed_images(device, 4), 3, 112, 112, device=device)
    return gain_of_bf16(lambda precision: _answer(model, images, precision), seconds)


def gain_of_bf16(step: Callable[[Precision], None], seconds: float) -> float:
    """Return how many times faster `step` runs in bf16 than in fp32: the fastest of each, in turns, for about `seconds`.

    In turns and at least three times each, unless the first is hopeless: on a machine that does other work as well, a slow
    moment hits both alike.
    """
    times: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    end = time.perf_counter() + seconds
    while len(times["bf16"]) <= FEWEST or time.perf_counter() < end:
        for precision, taken in times.items():
            start = time.perf_counter()
            step(precision)
            taken.append(time.perf_counter() - start)
        if len(times["bf16"]) == 2 and _gain(times) < HOPELESS:
            break
    return _gain(times)


def _gain(times: Mapping[Precision, list[float]]) -> float:
    """Return how many times faster the fastest bf16 step was; the first of each prepares kernels and memory."""
    fp32, bf16 = (min(taken[1:]) for taken in times.values())
    return fp32 / bf16


def _probed_images(device: torch.device, count: int) -> int:
    """Return how many images a probe takes on `device`, `count` on a CPU."""
    return count if device.type == "cpu" else FILLING * count


def _train(model: torch.nn.Module, images: torch.Tensor, precision: Precision) -> None:
    """Run forward and backward once, to the end also on a device that works asynchronously."""
    with autocast(images.device, precision):
        loss = model(images).square().mean()
    loss.backward()
    loss.item()


@torch.inference_mode()
def _answer(model: torch.nn.Module, images: torch.Tensor, precision: Precision) -> None:
    """Run the forward pass once, to the end also on a device that works asynchronously."""
    with autocast(images.device, precision):
        model(images).sum().item()
