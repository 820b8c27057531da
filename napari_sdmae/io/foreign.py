"""Checkpoints of other programs: reading them safely, and what their tensors are called.

Three families are known by their tensor names: the SD-MAE authors' checkpoints, those of facebookresearch/mae, and anything
that holds a plain vision transformer under timm's names.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

Kind = Literal["sdmae", "mae", "vit"]
Tensors = dict[str, Tensor]

_WRAPPERS = ("model", "state_dict", "model_state_dict", "teacher", "student")


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


def read_foreign(path: Path) -> Foreign:
    """Read and recognise a ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file.

    Raises
    ------
    ValueError
        If the file wants to run code, is damaged, or holds no vision transformer.
    """
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)
    tensors = _find_tensors(content)
    args = content.get("args")
    arguments = vars(args) if isinstance(args, argparse.Namespace) else dict(args) if isinstance(args, dict) else {}
    prefix = _trunk_prefix(tensors, path)
    if "encoder_to_decoder.weight" in tensors:
        trunk = {name.removeprefix("encoder."): tensor for name, tensor in tensors.items() if name.startswith("encoder.")}
        rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder.")}
        return Foreign("sdmae", join_biases(trunk), join_biases(rest), arguments)
    trunk = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    rest = {name: trunk.pop(name) for name in list(trunk) if name == "mask_token" or name.startswith("decoder_")}
    return Foreign("mae" if "decoder_pred.weight" in rest else "vit", join_biases(trunk), rest, arguments)


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read a ``torch.save`` file that holds tensors, plain values and at most an ``argparse.Namespace``; run nothing in it.

    Raises
    ------
    ValueError
        If it holds anything else, or is no such file.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it holds Python objects other than tensors, plain values and argparse.Namespace, and such "
            f"files can run code when opened. Nothing in it was run. Ask for the weights alone, best as safetensors "
            f"({_reason(error)})"
        ) from error
    except Exception as error:  # a damaged file fails anywhere in the reader, in any way
        raise ValueError(f"{path} is not a readable PyTorch checkpoint ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a dictionary of tensors")
    return content


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


def read_safetensors(path: Path) -> Tensors:
    """Return the tensors of a safetensors file; ValueError if it is damaged or none."""
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}); copy or convert the model again") from error


def _find_tensors(content: dict[str, Any]) -> Tensors:
    """Return the tensors of a checkpoint, from inside the dictionaries in which programs wrap them."""
    for name in _WRAPPERS:
        if isinstance(content.get(name), dict):
            return _find_tensors(content[name])
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def _trunk_prefix(tensors: Tensors, path: Path) -> str:
    """Return what stands before ``patch_embed.proj.weight``, such as ``backbone.``; the shortest where there are several."""
    end = "patch_embed.proj.weight"
    found = sorted((name.removesuffix(end) for name in tensors if name.endswith(end)), key=len)
    if not found:
        listed = ", ".join(list(tensors)[:8]) or "no tensors"
        raise ValueError(f"{path} holds no plain vision transformer ({end} was not found); it has {listed}")
    return found[0]


def _reason(error: Exception) -> str:
    """Return what PyTorch objected to, without its advice on how to switch the check off."""
    match = re.search(r"(Unsupported (?:global|operand|class)[^.\n]*|GLOBAL [\w.]+)", str(error))
    return match[1] if match else type(error).__name__
