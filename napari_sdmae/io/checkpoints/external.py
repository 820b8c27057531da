"""Checkpoints of other programs: reading them safely, and what their tensors are called.

Three families are known by their tensor names: the SD-MAE authors' checkpoints, those of facebookresearch/mae, and anything
that holds a plain vision transformer under timm's names.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from napari_sdmae.io.checkpoints.state_dict import BRIDGE, StateDict, find_state_dict
from napari_sdmae.io.checkpoints.tensor_files import Tensors, check_tensors_finite, read_safetensors, read_torch_file
from napari_sdmae.text.printable import shown

Kind = Literal["sdmae", "mae", "vit"]


@dataclass(frozen=True)
class Foreign:
    """A checkpoint of another program.

    Attributes
    ----------
    kind
        ``sdmae`` (the authors'), ``mae`` (facebookresearch, with decoder) or ``vit`` (an encoder only).
    trunk
        The encoder's tensors under timm's names.
    rest
        Decoder, heads and so on under their own names.
    args
        The program's arguments, where the file has them.
    """

    kind: Kind
    trunk: Tensors
    rest: Tensors
    args: dict[str, Any]


def read_foreign(path: Path, weights: str | None = None) -> Foreign:
    """Read and recognise a ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file.

    Parameters
    ----------
    path
        The file.
    weights
        Which weights are meant where it holds those of several models, such as ``teacher``.

    Raises
    ------
    ValueError
        If the file would run code, is damaged or beyond the limits, holds no vision transformer, or several of which none is
        chosen.
    """
    safetensors = path.suffix.lower() == ".safetensors"
    content: Mapping[str, Any] = read_safetensors(path) if safetensors else read_torch_file(path)
    found = find_state_dict(content, str(path), path.stat().st_size, weights)
    if not safetensors:  # those were checked when they were read
        check_tensors_finite(found.tensors, path)
    _note(found, path)
    args = content.get("args")
    arguments = vars(args) if isinstance(args, argparse.Namespace) else dict(args) if isinstance(args, dict) else {}
    trunk = {name.removeprefix(found.trunk): tensor for name, tensor in found.tensors.items() if name.startswith(found.trunk)}
    if BRIDGE in found.tensors:
        rest = {name: tensor for name, tensor in found.tensors.items() if not name.startswith(found.trunk)}
        return Foreign("sdmae", join_biases(trunk), join_biases(rest), arguments)
    rest = {name: trunk.pop(name) for name in list(trunk) if name == "mask_token" or name.startswith("decoder_")}
    return Foreign("mae" if "decoder_pred.weight" in rest else "vit", join_biases(trunk), rest, arguments)


def _note(found: StateDict, path: Path) -> None:
    """Warn about what was left out of a file."""
    if found.left_out:
        listed = ", ".join(shown(name) for name in found.left_out[:5])
        warnings.warn(f"left out of {path.name}, being no tensors: {listed} ({len(found.left_out)} in all)", stacklevel=3)


def shape_of(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """Return the shape of a tensor.

    Raises
    ------
    ValueError
        If it is missing, empty, or has not so many dimensions.
    """
    if name not in tensors:
        raise ValueError(f"{name} is missing; this is no checkpoint of a model known here")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"{name} is {shape}; expected {dimensions} dimensions, none of them empty")
    return shape


def join_biases(tensors: Tensors) -> Tensors:
    """Return tensors with the authors' ``attn.q_bias`` and ``attn.v_bias`` joined to timm's ``attn.qkv.bias`` = [q, 0, v]."""
    joined = {name: tensor for name, tensor in tensors.items() if not name.endswith((".q_bias", ".v_bias"))}
    for name in tensors:
        if name.endswith(".q_bias"):
            start = name.removesuffix("q_bias")
            query = tensors[name]
            value = tensors.get(start + "v_bias", torch.zeros_like(query))
            joined[start + "qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    return joined


def block_count(tensors: Mapping[str, Tensor], name: str = "blocks") -> int:
    """Return how many different blocks ``name.N.`` there are."""
    return len({match[1] for key in tensors if (match := re.match(rf"{re.escape(name)}\.(\d+)\.", key))})
