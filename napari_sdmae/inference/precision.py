"""In which arithmetic heads and encoders answer: bf16 where a short probe shows that it pays (docs/decisions/0099)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import torch
from timm.models.vision_transformer import VisionTransformer

from napari_sdmae.config.base import Precision
from napari_sdmae.models.precision import autocast, gain_of_bf16, probed_images, works_in_bf16

GAIN = 1.15
"""bf16 must be faster by this factor, or its coarser numbers are not worth it."""
SECONDS = 0.25
"""Time given to each arithmetic in the probe."""


def answering(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """Return the context in which `device` answers: fp32, bf16, or what the probe chose.

    Raises
    ------
    ValueError
        If bf16 was asked for on a device that cannot compute in it.
    """
    return autocast(device, chosen_precision(device, precision))


def chosen_precision(device: torch.device, asked: Precision = "auto") -> Precision:
    """Return ``fp32`` or ``bf16``; errors as in :func:`answering`."""
    if asked == "bf16" and not works_in_bf16(device):
        raise ValueError(f"precision bf16 does not work on {device.type} here; choose fp32 or auto")
    if asked != "auto":
        return asked
    return "bf16" if works_in_bf16(device) and gain(device.type) >= GAIN else "fp32"


@cache
def gain(kind: str) -> float:
    """Return how many times faster two blocks of a ViT answer in bf16 than in fp32 on this kind of device; probed once."""
    device = torch.device(kind)
    model = VisionTransformer(img_size=112, embed_dim=384, depth=2, num_heads=6, num_classes=0).to(device).eval()
    images = torch.rand(probed_images(device, 4), 3, 112, 112, device=device)
    return gain_of_bf16(lambda precision: _forward(model, images, precision), 2 * SECONDS)


@torch.inference_mode()
def _forward(model: torch.nn.Module, images: torch.Tensor, precision: Precision) -> None:
    """Run the forward pass once, to the end also on a device that works asynchronously."""
    with autocast(images.device, precision):
        model(images).sum().item()
