"""SD-MAE model folders: ``model.safetensors`` and ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.atomic import atomic_files
from napari_sdmae.io.checkpoints.tensor_files import read_safetensors
from napari_sdmae.io.model_info.info import CONFIG, FORMAT, VERSION, WEIGHTS
from napari_sdmae.models import SDMAE
from napari_sdmae.models.compact import has_heads, strip_heads
from napari_sdmae.text.printable import shown

_METADATA = {"target_normalisation", "mpp", "provenance"}


def save_model(folder: Path, model: SDMAE, *, metadata: Mapping[str, Any] | None = None, half: bool = False) -> None:
    """Write a model folder; the same weights and metadata give the same bytes.

    Both files are written before one takes the place of its predecessor, so that a full disk leaves the old model.

    Parameters
    ----------
    folder
        Folder to write, made if needed.
    model
        The model, on any device. The position codes are saved with it; their grid is tile size / patch size of its config.
    metadata
        ``target_normalisation`` the model was trained with, ``mpp`` of its tiles in µm per pixel, ``provenance`` (any JSON).
    half
        Write 16-bit weights; loaded again they are 32-bit.

    Raises
    ------
    ValueError
        If the metadata has other keys, or a weight is too large for 16 bits.
    OSError
        If the disk is full; the files of before are then still there.
    """
    metadata = dict(metadata or {})
    if unknown := set(metadata) - _METADATA:
        raise ValueError(f"unknown model metadata {sorted(unknown)}; expected {sorted(_METADATA)} (others go into provenance)")
    config = {
        "format": FORMAT,
        "version": VERSION,
        "model": model.config.model_dump(mode="json"),
        "encoder": {
            "width": int(model.encoder.embed_dim),
            "depth": len(model.encoder.blocks),
            "heads": int(model.encoder.blocks[0].attn.num_heads),
        },
        "heads": has_heads(model),
        "target_normalisation": metadata.get("target_normalisation", "patch"),
        "mpp": metadata.get("mpp"),
        "provenance": metadata.get("provenance", {}),
    }
    write_folder(folder, model.state_dict(), config, half)


def write_folder(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], half: bool = False) -> None:
    """Write tensors, with 16 bits each if `half`, and JSON config as a model folder."""
    folder = Path(folder)
    tensors = halved(tensors) if half else tensors
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_files(folder, CONFIG, overwrite=True) as aside:
        (aside / WEIGHTS).write_bytes(save(plain, metadata={"format": "pt"}))
        (aside / CONFIG).write_bytes((json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with 16-bit floating point numbers; whole numbers stay.

    Raises
    ------
    ValueError
        If a number is too large for 16 bits.
    """
    smaller = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if lost := [name for name, tensor in smaller.items() if not tensor.isfinite().all()]:
        most = torch.finfo(torch.float16).max
        raise ValueError(f"{', '.join(lost)}: not finite, or above {most:g}, with 16 bits; keep the weights at 32 bits")
    return smaller


def load_sdmae(folder: Path, config: Mapping[str, Any]) -> SDMAE:
    """Return the model of an SD-MAE folder whose ``config.json`` is `config`, on the CPU, with 32-bit weights.

    Raises
    ------
    ValueError
        If the weights cannot be read, or config and weights do not belong together; the message lists the tensors.
    """
    model = SDMAE.empty(ModelConfig.model_validate(config["model"]))
    if not config.get("heads", True):
        strip_heads(model)
    load_exactly(model, read_safetensors(folder / WEIGHTS), str(folder))
    return model


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load all `tensors` into `module`, which must need exactly these.

    Raises
    ------
    ValueError
        If any is missing, too many, of another shape or kind of number; the message lists them.
    """
    if problems := differences(module.state_dict(), tensors):
        raise ValueError(f"the weights of {source} do not fit its config: {summary(problems)}")
    module.load_state_dict(tensors)


def differences(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Return one line for every tensor that is missing, unexpected, of another shape or another kind of number."""
    lines = [f"{name} is missing" for name in expected if name not in given]
    lines += [f"{shown(name)} is not expected" for name in given if name not in expected]
    shared = [name for name in expected if name in given and not fits(expected[name], given[name])]
    return lines + [f"{name} is {_described(given[name])}, expected {_described(expected[name])}" for name in shared]


def fits(expected: Tensor, given: Tensor) -> bool:
    """Return whether a tensor has the shape and the kind of numbers, real or whole, of the one that it is to replace."""
    return expected.shape == given.shape and _kind(expected) == _kind(given)


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}" + ("" if _kind(tensor) == "real" else f" of {_kind(tensor)} numbers")


def _kind(tensor: Tensor) -> str:
    return "real" if tensor.is_floating_point() else "complex" if tensor.is_complex() else "whole"


def summary(problems: list[str], limit: int = 40) -> str:
    """Return the first `limit` lines as one text, and how many more there are."""
    more = f"; and {len(problems) - limit} more" if len(problems) > limit else ""
    return "; ".join(problems[:limit]) + more
