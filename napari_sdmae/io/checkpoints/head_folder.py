"""Head folders: encoder and head in ``model.safetensors``, everything else in ``config.json`` (:class:`HeadSpec`)."""

from __future__ import annotations

from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer

from napari_sdmae.config.finetune import EncoderSpec
from napari_sdmae.io.checkpoints.sdmae_folder import load_exactly, write_folder
from napari_sdmae.io.checkpoints.tensor_files import Tensors, read_safetensors
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import WEIGHTS, find_model
from napari_sdmae.models.encoder import create_plain_vit
from napari_sdmae.models.heads.classification import NearestNeighbours
from napari_sdmae.models.heads.head_model import HeadModel


def save_head(folder: Path, model: HeadModel, half: bool = False) -> None:
    """Write a head folder, with 16-bit weights if `half`; the same weights and specification give the same bytes.

    Both files are written before one takes the place of its predecessor, so that a full disk leaves the old head.

    Raises
    ------
    OSError
        If the disk is full; the files of before are then still there.
    """
    write_folder(folder, model.state_dict(), model.spec.model_dump(mode="json"), half)


def load_head(head: str | Path, device: str | torch.device = "cpu") -> HeadModel:
    """Load a head with its encoder, in eval mode.

    Parameters
    ----------
    head
        Fine-tuning run folder or head folder.
    device
        Where to put it.

    Raises
    ------
    FileNotFoundError
        If there is no such head.
    ValueError
        If it is a model without a head, or config and weights do not fit; the message lists the tensors.
    """
    folder, spec = find_model(head), read_head_spec(head)
    model = HeadModel(empty_encoder(spec.encoder), spec)
    tensors = read_safetensors(folder / WEIGHTS)
    if isinstance(model.head, NearestNeighbours) and "head.labels" in tensors:
        model.head.reserve(len(tensors["head.labels"]))
    load_exactly(model, tensors, str(folder))
    if isinstance(model.head, NearestNeighbours):
        _check_votes(model.head, folder)
    return model.eval().to(device)


def load_head_encoder(folder: Path, spec: EncoderSpec) -> VisionTransformer:
    """Return the encoder of a head folder, on the CPU; ValueError if the weights do not fit."""
    vit = empty_encoder(spec)
    tensors = read_safetensors(folder / WEIGHTS)
    load_exactly(vit, _encoder_tensors(tensors), str(folder))
    return vit


def empty_encoder(spec: EncoderSpec) -> VisionTransformer:
    """Return the encoder of `spec` whose weights are yet to be loaded: without the seconds that random numbers take.

    Raises
    ------
    ValueError
        If timm has no such model, or its arguments do not fit it.
    """
    with torch.device("meta"):
        vit = create_plain_vit(spec.architecture, spec.arguments)
    vit.to_empty(device="cpu")
    if spec.fixed_position:
        vit.pos_embed.requires_grad_(False)
    return vit


def _encoder_tensors(tensors: Tensors) -> Tensors:
    start = "encoder."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _check_votes(head: NearestNeighbours, folder: Path) -> None:
    """Raise ValueError unless every labelled tile votes for a class that there is."""
    least, most = (int(end) for end in head.labels.aminmax()) if len(head.labels) else (0, 0)
    if least < 0 or most >= head.classes:
        raise ValueError(f"{folder / WEIGHTS}: head.labels go from {least} to {most}, expected 0 to {head.classes - 1}")
