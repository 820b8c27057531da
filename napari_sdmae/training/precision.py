"""Which arithmetic pays on this machine: a probe of about a second, never the machine's name."""

from __future__ import annotations

import time

import torch
from timm.models.vision_transformer import VisionTransformer

from napari_sdmae.config import Precision
from napari_sdmae.models.precision import autocast as autocast
from napari_sdmae.models.precision import works_in_bf16 as _works

GAIN = 1.15
"""bf16 must be faster by this factor, or its coarser numbers are not worth it."""


def choose_precision(asked: Precision, device: torch.device) -> tuple[Precision, str]:
    """Return ``fp32`` or ``bf16`` and one line that says why.

    Raises
    ------
    ValueError
        If bf16 was asked for on a device that cannot compute in it.
    """
    if asked == "fp32":
        return "fp32", "fp32 as asked"
    if not _works(device):
        if asked == "bf16":
            raise ValueError(f"precision bf16 does not work on {device.type} here; choose fp32 or auto")
        return "fp32", f"fp32: {device.type} cannot compute in bf16"
    if asked == "bf16":
        return "bf16", "bf16 as asked"
    gain = probe(device)
    chosen: Precision = "bf16" if gain >= GAIN else "fp32"
    return chosen, f"{chosen}: bf16 runs at {gain:.2f} times the speed of fp32 here"


def probe(device: torch.device, seconds: float = 0.4) -> float:
    """Return how many times faster a small ViT trains in bf16 than in fp32 on `device`; takes about two `seconds`."""
    model = VisionTransformer(img_size=64, patch_size=8, embed_dim=192, depth=2, num_heads=3, num_classes=0).to(device)
    images = torch.rand(8, 3, 64, 64, device=device)
    for block in model.blocks:
        block.attn.fused_attn = device.type != "cpu"
    times = {bf16: _seconds_per_step(model, images, bf16=bf16, budget=seconds) for bf16 in (False, True)}
    return times[False] / times[True]


def _seconds_per_step(model: torch.nn.Module, images: torch.Tensor, *, bf16: bool, budget: float) -> float:
    """Return the fastest of the steps that fit into `budget` seconds, after one to warm up."""
    fastest, end = float("inf"), time.perf_counter() + budget
    _step(model, images, bf16)
    while time.perf_counter() < end:
        start = time.perf_counter()
        _step(model, images, bf16)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest if fastest < float("inf") else budget


def _step(model: torch.nn.Module, images: torch.Tensor, bf16: bool) -> None:
    """Run forward and backward once, to the end also on a device that works asynchronously."""
    with autocast(images.device, "bf16" if bf16 else "fp32"):
        loss = model(images).square().mean()
    loss.backward()
    loss.item()
