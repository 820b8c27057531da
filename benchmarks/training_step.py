"""Training speed over the published arithmetic written plainly (tests/models/reference_formula.py), in one interleaved run.

``python benchmarks/training_step.py [--encoder vit_small_patch16_224] [--batch 16] [--rounds 4]``, on the CPU

The reference is float32, with boolean gathers, the last head layer on each token, explicit attention and unfused AdamW.
Rows differ from it only in how the same mathematics is computed. CPU seconds are given beside wall seconds: they repeat
better on a busy machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from machine import write_result

from napari_sdmae.config.base import Precision
from napari_sdmae.config.pretrain import LossConfig, ModelConfig, OptimizerConfig
from napari_sdmae.devices.precision import autocast, training_gain
from napari_sdmae.io.images.read import read_image
from napari_sdmae.losses.sdmae import SDMAELoss
from napari_sdmae.models import SDMAE
from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.masking import num_masked, random_mask
from napari_sdmae.training.loop.optim import build_optimizer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "models"))
from reference_formula import PublishedLoss, PublishedSDMAE

Step = Callable[[], None]


def batch_of_tissue(model: SDMAE, size: int, count: int, device: torch.device) -> torch.Tensor:
    """Return `count` normalised tiles (count, 3, size, size) of the shipped tissue."""
    folder = Path(str(resources.files("napari_sdmae.resources") / "tissue" / "tiles"))
    tiles = np.stack([read_image(path)[:size, :size] for path in sorted(folder.rglob("*.jpg"))[:count]])
    return model.normalise(torch.from_numpy(tiles)).to(device)


def ours(config: ModelConfig, images: torch.Tensor, mask: torch.Tensor, precision: Precision, explicit: bool) -> Step:
    """Return one training step of the package."""
    model = SDMAE(config).to(images.device)
    set_attention(model, explicit=explicit)
    loss = SDMAELoss(LossConfig.paper(), config.head_outputs).to(images.device)
    optimizer = build_optimizer(model, OptimizerConfig())
    masked = num_masked(0.6, mask.shape[1])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(images.device, precision):
            output = model(images, mask, masked=masked)
        loss(output, images, mask, 0.0).total.backward()
        optimizer.step()

    return step


def reference(config: ModelConfig, images: torch.Tensor, mask: torch.Tensor) -> Step:
    """Return one training step of the published arithmetic, written plainly."""
    vit = SDMAE(config).encoder
    head = config.head_hidden, config.head_bottleneck, config.head_outputs
    names = {"img_size": config.tile_size, "patch_size": config.patch_size, "encoder_embed_dim": vit.embed_dim,
             "encoder_depth": len(vit.blocks), "encoder_num_heads": vit.blocks[0].attn.num_heads, "mlp_ratio": 4,
             "decoder_num_classes": 3 * config.patch_size**2, "decoder_embed_dim": config.decoder_width,
             "decoder_depth": config.decoder_depth, "decoder_num_heads": config.decoder_heads,
             "dino_hidden_dim": head[0], "dino_bottleneck_dim": head[1], "dino_head_dim": head[2]}  # fmt: skip
    model = PublishedSDMAE(names)
    loss = PublishedLoss(config.head_outputs, {"p": 0.2, "teacher_temp": 0.04, "warmup_teacher_temp": 0.04,
                                               "warmup_teacher_temp_epochs": 0})  # fmt: skip
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=False)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        target = model.target(images, mask, normalised=True)
        loss(model(images, mask), target, 0)[0].backward()
        optimizer.step()

    return step


def measure(steps: dict[str, Step], rounds: int, batch: int) -> dict[str, dict[str, float]]:
    """Run all steps in turn, `rounds` times; return images per second by wall clock and by CPU time (median)."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            start, used = time.perf_counter(), time.process_time()
            step()
            if number:  # the first round warms up
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - used)
    return {name: {"images_per_s": batch / float(np.median(wall[name])),
                   "images_per_cpu_s": batch / float(np.median(cpu[name]))} for name in steps}  # fmt: skip


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="vit_small_patch16_224")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args()
    config = ModelConfig(encoder=asked.encoder, position="sincos1d", head="projection")
    torch.manual_seed(0)
    images = batch_of_tissue(SDMAE(config), config.tile_size, asked.batch, torch.device("cpu"))
    mask = torch.from_numpy(random_mask(np.random.default_rng(0).random((asked.batch, config.grid**2)), 0.6))
    steps = {
        "reference formula, fp32": reference(config, images, mask),
        "ours, fp32": ours(config, images, mask, "fp32", explicit=True),
        "ours, fp32, fused attention": ours(config, images, mask, "fp32", explicit=False),
    }
    if training_gain(images.device.type) > 1:  # processors without bf16 units emulate it, many times slower
        steps["ours, bf16"] = ours(config, images, mask, "bf16", explicit=True)
    results = measure(steps, asked.rounds, asked.batch)
    base = results["reference formula, fp32"]["images_per_cpu_s"]
    for name, result in results.items():
        result["ratio"] = result["images_per_cpu_s"] / base
        rates = f"{result['images_per_s']:8.2f} images/s {result['images_per_cpu_s']:8.2f} per CPU s"
        print(f"{name:32s} {rates}  × {result['ratio']:.2f}")
    write_result("training_step", {"encoder": asked.encoder, "batch": asked.batch, "results": results})


if __name__ == "__main__":
    main()
