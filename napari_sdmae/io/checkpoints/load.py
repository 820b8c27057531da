"""Models on disk: saving, loading, and the encoder of any of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.checkpoints.convert import convert_checkpoint
from napari_sdmae.io.checkpoints.head_folder import load_head_encoder
from napari_sdmae.io.checkpoints.sdmae_folder import load_sdmae, save_model
from napari_sdmae.io.checkpoints.timm_folder import arguments_of, load_vit
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import ModelInfo, find_model, is_head, is_sdmae, model_info, read_config
from napari_sdmae.models import SDMAE
from napari_sdmae.models.encoder import encoder_arguments
from napari_sdmae.models.patches import standardise

__all__ = ["Encoder", "ModelInfo", "convert_checkpoint", "load_encoder", "load_model", "model_info", "save_model"]


@dataclass(frozen=True)
class Encoder:
    """The encoder of a model and what it expects.

    Attributes
    ----------
    vit
        timm's VisionTransformer in eval mode, without classifier; takes (B, 3, H, W) of any H and W divisible by the patch.
    mean, std
        Normalisation of [0, 1] RGB.
    patch_size, tile_size
        Pixels; the tile size is the one it was trained with.
    mpp
        Scale of the training tiles, µm per pixel, when known.
    name
        Name to show.
    architecture, arguments
        timm's name and the arguments with which it builds such an encoder.
    """

    vit: VisionTransformer
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    patch_size: int
    tile_size: int
    mpp: float | None
    name: str
    architecture: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    def normalise(self, images: Tensor) -> Tensor:
        """Return the encoder's input (B, 3, H, W) from uint8 or [0, 1] float RGB, (B, H, W, 3) or (B, 3, H, W)."""
        mean, std = (images.new_tensor(value, dtype=torch.float32).view(1, 3, 1, 1) for value in (self.mean, self.std))
        return standardise(images, mean, std)


def load_model(model: str | Path, device: str | torch.device = "cpu") -> SDMAE:
    """Load an SD-MAE in eval mode.

    Parameters
    ----------
    model
        Run folder, model folder or name of a shipped model.
    device
        Where to put it.

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If it has no decoder, or config and weights do not fit.
    """
    folder = find_model(model)
    config = read_config(folder)
    if is_head(config):
        raise ValueError(
            f"{folder} is a fine-tuned head ({config.get('task')}), which has no decoder of pixels: reconstruction needs the "
            "pre-trained SD-MAE; attention maps and prediction work"
        )
    if not is_sdmae(config):
        raise ValueError(f"{folder} holds an encoder only: attention maps work, reconstruction needs an SD-MAE with its decoder")
    return load_sdmae(folder, config).eval().to(device)


def load_encoder(model: str | Path, device: str | torch.device = "cpu") -> Encoder:
    """Load the encoder of an SD-MAE, a head or a folder in timm's layout; arguments and errors as in :func:`load_model`."""
    folder = find_model(model)
    config, info = read_config(folder), model_info(model)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    if is_sdmae(config):
        settings = ModelConfig.model_validate(config["model"])
        vit, mean, std = load_sdmae(folder, config).encoder, settings.mean, settings.std
        arguments = encoder_arguments(settings)
    elif is_head(config):
        spec = read_head_spec(folder).encoder
        vit, mean, std, arguments = load_head_encoder(folder, spec), spec.mean, spec.std, spec.arguments
    else:
        vit, arguments = load_vit(folder), config.get("model_args", {})
        mean, std = (tuple(vit.pretrained_cfg[name]) for name in ("mean", "std"))
    sizes = info.patch_size, info.tile_size, info.mpp
    return Encoder(vit.eval().to(device), mean, std, *sizes, info.name, info.encoder, arguments_of(vit, arguments))
