"""Which arithmetic pays on this machine: a probe of about a second, never the machine's name."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer

from napari_sdmae.config.base import Precision
from napari_sdmae.models.precision import autocast as autocast
from napari_sdmae.models.precision import gain_of_bf16, probed_images
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
    images = torch.rand(probed_images(device, 8), 3, 64, 64, device=device)
    for block in model.blocks:
        block.attn.fused_attn = device.type != "cpu"
    return gain_of_bf16(lambda precision: _step(model, images, precision), 2 * seconds)


def _step(model: torch.nn.Module, images: torch.Tensor, precision: Precision) -> None:
    """Run forward and backward once, to the end also on a device that works asynchronously."""
    with autocast(images.device, precision):
        loss = model(images).square().mean()
    loss.backward()
    loss.item()
