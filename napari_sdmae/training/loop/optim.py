"""AdamW and its parameter groups (method, Recipes)."""

from __future__ import annotations

import torch
from torch import nn

from napari_sdmae.config.pretrain import OptimizerConfig

UNDECAYED = ("mask_token", "cls_token", "reg_token", "pos_embed", "position")


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Return whether weight decay acts: on matrices, but not on tokens and position codes."""
    return parameter.ndim > 1 and not name.endswith(".bias") and name.rsplit(".", 1)[-1] not in UNDECAYED


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters of `model`, decayed ones first.

    The fused kernel is used on CPU and CUDA; its arithmetic is that of the plain one, in one pass over memory.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [parameter for name, parameter in named if is_decayed(name, parameter) == decayed],
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for decayed in (True, False)
    ]
    fused = named[0][1].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=config.base_lr, betas=config.betas, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of all groups; one with an ``lr_scale`` (layer decay) gets so many times the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
