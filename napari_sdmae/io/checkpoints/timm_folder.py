"""Encoder folders in timm's layout, which ``timm.create_model("local-dir:FOLDER", pretrained=True)`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from timm.models.vision_transformer import VisionTransformer

from napari_sdmae.io.checkpoints.sdmae_folder import write_folder
from napari_sdmae.io.model_info.info import CONFIG, FORMAT, WEIGHTS
from napari_sdmae.io.model_info.safetensors_header import check_finite
from napari_sdmae.models.encoder import is_plain

_OURS = {"num_classes", "dynamic_img_size", "drop_path_rate", "drop_rate", "in_chans", "pretrained", "pretrained_cfg"}
"""Arguments that every encoder here has alike."""


def save_encoder(
    folder: Path,
    vit: VisionTransformer,
    architecture: str,
    arguments: Mapping[str, Any],
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    mpp: float | None = None,
    provenance: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write an encoder folder in timm's layout.

    Parameters
    ----------
    folder
        Folder to write, made if needed.
    vit
        The encoder, without classifier.
    architecture
        timm name; a tag behind a point is left out, since the weights are not timm's.
    arguments
        What timm's model of that name was built with.
    mean, std
        Normalisation of [0, 1] RGB.
    mpp
        Scale of the training tiles, µm per pixel.
    provenance
        Where the weights come from, any JSON.
    half
        Write 16-bit weights; loaded again they are 32-bit.
    """
    height, width = vit.patch_embed.img_size
    config = {
        "architecture": architecture.split(".")[0],
        "num_classes": 0,
        "num_features": int(vit.embed_dim),
        "global_pool": vit.global_pool,
        "model_args": {"dynamic_img_size": True, **arguments},
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": [3, height, width],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": list(mean),
            "std": list(std),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
        FORMAT: {"mpp": mpp, "provenance": dict(provenance or {})},
    }
    write_folder(folder, vit.state_dict(), config, half)


def load_vit(folder: Path) -> VisionTransformer:
    """Return the encoder of a timm-layout folder, without classifier, taking images of any size divisible by its patch.

    Raises
    ------
    ValueError
        If it is not a plain vision transformer or the weights do not fit the config.
    """
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder} has {CONFIG} but no {WEIGHTS}; only safetensors are loaded from timm folders")
    check_finite(folder / WEIGHTS)
    try:
        vit = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0, dynamic_img_size=True)
    except (RuntimeError, TypeError, KeyError, AssertionError, SafetensorError) as error:
        raise ValueError(f"timm cannot load the encoder in {folder}: {error}") from error
    if not is_plain(vit):
        raise ValueError(f"{folder} holds a {type(vit).__name__}; only timm's plain vision transformers can be used")
    return vit


def arguments_of(vit: VisionTransformer, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with which timm builds `vit` again: `given`, its sizes stated, nothing left to defaults or names."""
    kept = {name: value for name, value in given.items() if name not in _OURS}
    sizes = {
        "img_size": list(vit.patch_embed.img_size),
        "patch_size": int(vit.patch_embed.patch_size[0]),
        "embed_dim": int(vit.embed_dim),
        "depth": len(vit.blocks),
        "num_heads": int(vit.blocks[0].attn.num_heads),
        "global_pool": vit.global_pool,
    }
    return kept | sizes
