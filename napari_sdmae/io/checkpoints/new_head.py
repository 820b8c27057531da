"""A new head on the encoder of any model, or on one from scratch; a head of the same task goes on from its own decoder."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from timm.layers import DropPath
from timm.models.vision_transformer import VisionTransformer

from napari_sdmae.config.finetune import SCRATCH, EncoderConfig, EncoderSpec, FinetuneConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.checkpoints.load import Encoder, load_encoder
from napari_sdmae.io.checkpoints.tensor_files import read_safetensors
from napari_sdmae.io.checkpoints.timm_folder import arguments_of
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import WEIGHTS, find_model, is_head, read_config
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.models.encoder import build_encoder, encoder_arguments
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.text.errors import first_problem

DENSE = ("segmentation", "instances")
"""Tasks whose heads have a decoder to go on from; those of the others are a layer, or hold their classes throughout."""
ANSWERS = ("classifier.", "auxiliary.3.")
"""Weights of the last layers, one row for each answer."""
OBJECT_CHANNELS = 2
"""Of instances: inside an object, and separation; the types follow."""


def new_head(config: FinetuneConfig, classes: Sequence[LabelClass], mpp: float | None = None) -> HeadModel:
    """Return a head on the encoder that `config` names; the same seed gives the same weights.

    The head's own weights are new, unless the model is itself a head of the same task and decoder: then they are that one's,
    where they fit. What tells the classes apart is kept where the classes are the same, and of instances what finds objects.

    Parameters
    ----------
    config
        Task, model to start from, head, seed, drop path.
    classes
        What it is to tell apart.
    mpp
        µm per pixel of the images, where known; used where neither the settings nor the model say what scale to see.

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If the model cannot be used, or blocks and classes do not fit it.
    """
    _check_classes(config, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        vit, encoder, own_mpp, name = _scratch(config.encoder) if config.model == SCRATCH else _given(config.model)
        spec = HeadSpec(
            task=config.task,
            classes=tuple(classes),
            head=config.head,
            encoder=encoder,
            tile_size=_tile_size(config.tile_px, encoder),
            mpp=config.seen_mpp or own_mpp or mpp,
            provenance={"encoder": name},
        )
        set_drop_path(vit, config.encoder.drop_path)
        model = HeadModel(vit, spec)
    if config.model != SCRATCH:
        _continue_head(model, config.model)
    return model


def _continue_head(model: HeadModel, source: str) -> None:
    """Give `model` the decoder of `source`, if that is a head of the same task and decoder."""
    folder = find_model(source)
    if not is_head(read_config(folder)):
        return
    before, after = read_head_spec(folder), model.spec
    if before.task != after.task or before.task not in DENSE or _layout(before) != _layout(after):
        return
    own, found = model.head.state_dict(), read_safetensors(folder / WEIGHTS)
    same_classes = [one.name for one in before.classes] == [one.name for one in after.classes]
    for name, weight in own.items():
        kept = found.get(f"head.{name}")
        if kept is None:
            continue
        if kept.shape == weight.shape and (same_classes or not name.startswith(ANSWERS)):
            weight.copy_(kept)
        elif name.startswith(ANSWERS) and after.task == "instances":
            weight[:OBJECT_CHANNELS].copy_(kept[:OBJECT_CHANNELS])
    model.spec = after.model_copy(
        update={"thresholds": before.thresholds, "provenance": after.provenance | {"continues": Path(source).name}}
    )


def _layout(spec: HeadSpec) -> dict[str, Any]:
    """Return the settings of a head that decide what its weights mean."""
    return spec.head.model_dump(include={"decoder", "width", "blocks", "separation"})


def set_drop_path(vit: VisionTransformer, rate: float) -> None:
    """Leave blocks out at random while training: at a rate that grows from 0 in the first block to `rate` in the last."""
    rates = torch.linspace(0, rate, len(vit.blocks)).tolist()
    for block, share in zip(vit.blocks, rates, strict=True):
        block.drop_path1, block.drop_path2 = (DropPath(share) if share else torch.nn.Identity() for _ in range(2))


def _scratch(config: EncoderConfig) -> tuple[VisionTransformer, EncoderSpec, None, str]:
    """Return a new encoder, initialised as timm does, with fixed position codes as in pre-training."""
    chosen: dict[str, Any] = {"encoder_width": config.width, "encoder_depth": config.depth, "encoder_heads": config.heads}
    try:
        settings = ModelConfig(encoder=config.architecture, tile_size=config.tile_size, patch_size=config.patch_size, **chosen)
    except ValidationError as error:
        raise ValueError(f"encoder from scratch: {first_problem(error)}") from error
    vit = build_encoder(settings)
    arguments = arguments_of(vit, encoder_arguments(settings))
    return vit, _spec(vit, settings.encoder, arguments, settings), None, SCRATCH


def _given(model: str) -> tuple[VisionTransformer, EncoderSpec, float | None, str]:
    """Return the encoder of a model on disk."""
    encoder = load_encoder(model)
    return encoder.vit, _spec(encoder.vit, encoder.architecture, encoder.arguments, encoder), encoder.mpp, encoder.name


def _spec(vit: VisionTransformer, architecture: str, arguments: dict[str, Any], expected: Encoder | ModelConfig) -> EncoderSpec:
    return EncoderSpec(
        architecture=architecture.split(".")[0],
        arguments=arguments,
        mean=expected.mean,
        std=expected.std,
        patch_size=expected.patch_size,
        tile_size=expected.tile_size,
        fixed_position=vit.pos_embed is not None and not vit.pos_embed.requires_grad,
    )


def _tile_size(asked: int | None, encoder: EncoderSpec) -> int:
    """Return the edge of the tiles, made of whole patches."""
    return ceil((asked or encoder.tile_size) / encoder.patch_size) * encoder.patch_size


def _check_classes(config: FinetuneConfig, classes: Sequence[LabelClass]) -> None:
    """Raise ValueError where there are too few classes, or two of one value."""
    least = 2 if config.task in ("segmentation", "classification") else 1
    if len(classes) < least:
        names = ", ".join(one.name for one in classes) or "none"
        raise ValueError(f"{config.task} needs at least {least} classes, got {len(classes)} ({names}); check the labels")
    if len({one.value for one in classes}) < len(classes):
        raise ValueError(f"two classes have the same value: {sorted(one.value for one in classes)}; give each its own")
    if config.task in ("instances", "detection") and any(one.value == 0 for one in classes):
        raise ValueError(f"{config.task} has its classes from value 1: 0 is where there is no object")
