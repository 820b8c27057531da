"""Reference cases: the files of tests/data/reference, read, replayed, and new ones made by the plain published formula."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from reference_formula import MEAN, STD, PublishedLoss, PublishedSDMAE
from torch import Tensor, nn

from napari_sdmae.config.pretrain import LossConfig
from napari_sdmae.io.checkpoints.load import convert_checkpoint, load_model
from napari_sdmae.losses.sdmae import SDMAELoss, SDMAELosses
from napari_sdmae.models import SDMAE, SDMAEOutput


def tissue_crops(tissue: Path, size: int, count: int = 3) -> NDArray[np.uint8]:
    """Cut one square out of each of `count` shipped tiles, (count, size, size, 3)."""
    files = sorted((tissue / "tiles").rglob("*.jpg"))[::20][:count]
    return np.stack([np.asarray(Image.open(file).convert("RGB"))[8 : 8 + size, 8 : 8 + size] for file in files])


def without_decay(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 1 or name.endswith("bias") or name == "mask_token"


def optimizer(module: nn.Module, settings: dict[str, Any]) -> torch.optim.AdamW:
    """AdamW on the authors' parameter groups: no decay on 1-d parameters, biases and mask token."""
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [p for n, p in named if without_decay(n, p) == bare],
            "weight_decay": 0.0 if bare else settings["weight_decay"],
        }
        for bare in (False, True)
    ]
    return torch.optim.AdamW(groups, lr=settings["lr"], betas=tuple(settings["betas"]), eps=settings["eps"])


@dataclass
class Replay:
    """What the package computes for a case: step 0 in full, the losses of every step, the centres."""

    output: SDMAEOutput
    target: Tensor
    gradients: dict[str, Tensor]
    losses: list[SDMAELosses]
    centres: list[Tensor]


class Case:
    """One reference case in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.weights = folder / f"{name}.pth"
        self.facts: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        with np.load(folder / f"{name}.npz") as arrays:
            self.arrays = {key: torch.from_numpy(arrays[key]) for key in arrays}

    def model(self, scratch: Path) -> SDMAE:
        return load_model(convert_checkpoint(self.weights, scratch / "model"))

    def loss_config(self) -> LossConfig:
        loss = self.facts["loss"]
        return LossConfig.paper(
            p=loss["p"],
            teacher_temperature=loss["teacher_temp"],
            warmup_teacher_temperature=loss["warmup_teacher_temp"],
            warmup_teacher_epochs=loss["warmup_teacher_temp_epochs"],
            target_normalisation="patch_channel" if self.facts["normalize_target"] else "none",
        )

    def replay(self, scratch: Path) -> Replay:
        """Load the checkpoint and take the optimizer steps of the case."""
        model = self.model(scratch)
        loss, steps = SDMAELoss(self.loss_config(), model.config.head_outputs), optimizer(model, self.facts["optimizer"])
        images, losses, centres = model.normalise(self.arrays["imgs"]), [], []
        first: tuple[SDMAEOutput, Tensor, dict[str, Tensor]] | None = None
        for step, mask in enumerate(self.arrays["masks"]):
            output = model(images, mask)
            result = loss(output, images, mask, epoch=step)
            steps.zero_grad()
            result.total.backward()
            if first is None:
                first = output, loss.pixel_target(output, images, mask), _gradients(model)
            steps.step()
            losses.append(result)
            centres.append(loss.centre.clone())
        assert first is not None
        return Replay(*first, losses, centres)


def _gradients(model: SDMAE) -> dict[str, Tensor]:
    """Return the gradients by the authors' names: query and value bias apart, the key bias checked to have none."""
    gradients: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert not parameter.requires_grad, f"{name} got no gradient"
            continue
        name = name.replace("student_head.", "encoder_proj_head.").replace("teacher_head.", "decoder_proh_head.")
        name = name.replace("last.weight", "last_layer.weight_v")
        if name.endswith("qkv.bias"):
            query, key, value = parameter.grad.clone().chunk(3)
            assert not key.any(), f"the key part of {name} moves"
            gradients |= {name.replace("qkv.bias", "q_bias"): query, name.replace("qkv.bias", "v_bias"): value}
        else:
            gradients[name] = parameter.grad.clone()
    return gradients


def make_case(folder: Path, name: str, facts: dict[str, Any], images: NDArray[np.uint8], seed: int = 0) -> Case:
    """Write a case in the reference's format, computed by the plain published formula, and read it."""
    torch.manual_seed(seed)
    model = PublishedSDMAE(facts["config"])
    with torch.no_grad():
        for parameter in model.parameters():  # weights far from a symmetric start, so that every path matters
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    namespace = argparse.Namespace(**facts["config"], **facts["loss"], normlize_target=facts["normalize_target"])
    state = {key: value.clone() for key, value in model.state_dict().items()}
    torch.save({"model": state, "optimizer": {}, "epoch": 3, "scaler": {}, "args": namespace}, folder / f"{name}.pth")
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    count = (facts["config"]["img_size"] // facts["config"]["patch_size"]) ** 2
    order = torch.rand(3, len(images), count).argsort(-1)
    masks = order < int(facts["mask_ratio"] * count + 1e-9)
    loss, adam = PublishedLoss(facts["config"]["dino_head_dim"], facts["loss"]), optimizer(model, facts["optimizer"])
    arrays, steps, norms = {"imgs": images, "masks": masks.numpy()}, [], {}
    for step, mask in enumerate(masks):
        output, target = model(pixels, mask), model.target(pixels, mask, facts["normalize_target"])
        total, distill, reconstruct = loss(output, target, step)
        adam.zero_grad()
        total.backward()
        if step == 0:
            norms = {key: float(p.grad.norm()) for key, p in model.named_parameters() if p.grad is not None}
            arrays |= {key: value.detach().numpy() for key, value in (output | {"target": target}).items()}
            arrays["center_after_step0"] = loss.centre.numpy()
        length = float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())
        adam.step()
        steps.append(
            {
                "loss": total.item(),
                "loss_distill": distill.item(),
                "loss_reconstruct": reconstruct.item(),
                "grad_norm_total": length,
                "center_l2": float(loss.centre.norm()),
            }
        )
    np.savez(folder / f"{name}.npz", **arrays, center_final=loss.centre.numpy())
    (folder / f"{name}.json").write_text(json.dumps(facts | {"steps": steps, "grad_norms_step0": norms}))
    return Case(folder, name)
