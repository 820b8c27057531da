"""The architecture behind the tensors of a foreign checkpoint, and how its tensors are called here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from napari_sdmae.config.limits import check_encoder_arguments
from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.checkpoints.external import Foreign, block_count, shape_of
from napari_sdmae.io.checkpoints.tensor_files import Tensors
from napari_sdmae.io.model_info.info import usual_heads
from napari_sdmae.models.encoder import encoder_arguments
from napari_sdmae.text.printable import shown

_BRIDGE = {"decoder_embed.weight": 2, "decoder_embed.bias": 1, "decoder_pos_embed": 3, "mask_token": 3}
"""Tensors of a MAE that join encoder and decoder, with their dimensions."""
_HIDDEN = "blocks.0.mlp.fc1.weight"
_NAMES = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}


def trunk_architecture(foreign: Foreign, hints: Mapping[str, int]) -> tuple[str, dict[str, Any]]:
    """Return the timm name and arguments of the encoder of a checkpoint.

    Parameters
    ----------
    foreign
        The checkpoint.
    hints
        ``tile_size``, ``encoder_heads`` or ``decoder_heads``, where the user gives them.

    Raises
    ------
    ValueError
        If the tensors are not those of a plain vision transformer.
    """
    if foreign.kind == "sdmae":
        config = full_config(foreign, hints)
        return config.encoder, encoder_arguments(config)
    trunk, sizes = foreign.trunk, _trunk_sizes(foreign, hints)
    if "norm_pre.weight" in trunk:
        raise ValueError(
            "this is a CLIP encoder, whose activation the tensors do not tell: its config.json is needed; convert its folder"
        )
    prefix = _prefix_tokens(trunk)
    length = shape_of(trunk, "pos_embed", 3)[1] if "pos_embed" in trunk else 0
    grid = math.isqrt(length - prefix) if length > prefix else 0
    no_embed_class = bool(prefix) and grid**2 != length - prefix
    grid = math.isqrt(length) if no_embed_class else grid
    if not grid or grid**2 + (0 if no_embed_class else prefix) != length:
        raise ValueError(f"the position code has {length} entries, which is no square of patches and {prefix} further tokens")
    options = {
        "reg_tokens": _registers(trunk),
        "no_embed_class": no_embed_class,
        "init_values": 1e-5 if "blocks.0.ls1.gamma" in trunk else None,
        "qkv_bias": "blocks.0.attn.qkv.bias" in trunk,
        "qk_norm": "blocks.0.attn.q_norm.weight" in trunk,
    }
    averaged = "fc_norm.weight" in trunk and "norm.weight" not in trunk
    pool = {"global_pool": "avg" if averaged else "", "fc_norm": averaged, "class_token": "cls_token" in trunk}
    return _timm_name(sizes["embed_dim"]), {"img_size": grid * sizes["patch_size"], **sizes, **pool, **options}


def full_config(foreign: Foreign, hints: Mapping[str, int]) -> ModelConfig:
    """Return the model settings of an authors' or MAE checkpoint, read from its tensors, its arguments and `hints`."""
    sizes, rest = _trunk_sizes(foreign, hints), foreign.rest
    mae = foreign.kind == "mae"
    width = shape_of(rest, "decoder_embed.weight" if mae else "encoder_to_decoder.weight", 2)[0]
    depth = block_count(rest, "decoder_blocks" if mae else "decoder.blocks")
    heads = hints.get("decoder_heads") or _number(foreign, "decoder_num_heads") or _decoder_heads(width, depth, mae)
    settings = {
        "encoder": _timm_name(sizes["embed_dim"]),
        "tile_size": _tile_size(foreign, hints, sizes["patch_size"]),
        "patch_size": sizes["patch_size"],
        "encoder_width": sizes["embed_dim"],
        "encoder_depth": sizes["depth"],
        "encoder_heads": sizes["num_heads"],
        "mlp_ratio": sizes["mlp_ratio"],
        "class_token": "cls_token" in foreign.trunk,
        "position": "sincos2d" if mae else "sincos1d",
        "decoder_width": width,
        "decoder_depth": depth,
        "decoder_heads": heads,
        "head": "projection",
    }
    return ModelConfig.model_validate(settings | _head_sizes(rest))


def unstated(foreign: Foreign, hints: Mapping[str, int]) -> list[str]:
    """Return which of ``tile_size``, ``encoder_heads`` and ``decoder_heads`` are neither in a checkpoint nor among `hints`."""
    args = foreign.args
    told = {
        "tile_size": "pos_embed" in foreign.trunk or "img_size" in args or "input_size" in args,
        "encoder_heads": "encoder_num_heads" in args,
        "decoder_heads": "decoder_num_heads" in args,
    }
    return [name for name, stated in told.items() if not stated and name not in hints]


def target_normalisation(foreign: Foreign) -> str:
    """Return what the decoder of an authors' or MAE checkpoint predicts; normalised patches where it does not say."""
    if foreign.kind == "mae":
        return "patch" if foreign.args.get("norm_pix_loss", True) else "none"
    return "patch_channel" if foreign.args.get("normlize_target", True) else "none"  # spelt so by the authors


def decoder_tensors(foreign: Foreign) -> Tensors:
    """Return decoder, mask token and heads of an authors' or MAE checkpoint under our names.

    Raises
    ------
    ValueError
        If the gain of a weight-normalised layer is not 1.
    """
    return _from_mae(foreign.rest) if foreign.kind == "mae" else _from_authors(foreign.rest)


def _from_authors(rest: Tensors) -> Tensors:
    renamed = {}
    for name, tensor in rest.items():
        if name.endswith("weight_g"):
            if not bool((tensor == 1).all()):
                raise ValueError(f"{name} is not 1 everywhere; SD-MAE fixes this gain at 1, so this is another kind of model")
            continue
        name = name.replace("encoder_proj_head.", "student_head.").replace("decoder_proh_head.", "teacher_head.")
        renamed[name.replace("last_layer.weight_v", "last.weight")] = tensor
    return renamed


def _from_mae(rest: Tensors) -> Tensors:
    """Rename MAE's decoder; the bias of its bridge, which we have not, moves into position code and mask token.

    MAE: visible tokens W·x + b + code, mask tokens m + code. Here: W·x + (code + b) and (m - b) + (code + b).
    """
    for name, dimensions in _BRIDGE.items():
        shape_of(rest, name, dimensions)
    bias = rest["decoder_embed.bias"]
    renamed = {
        "encoder_to_decoder.weight": rest["decoder_embed.weight"],
        "decoder.pos_embed": rest["decoder_pos_embed"] + bias,
        "mask_token": rest["mask_token"] - bias,
    }
    for old, new in (
        ("decoder_blocks.", "decoder.blocks."),
        ("decoder_norm.", "decoder.norm."),
        ("decoder_pred.", "decoder.head."),
    ):
        renamed |= {new + name.removeprefix(old): tensor for name, tensor in rest.items() if name.startswith(old)}
    return renamed


def _trunk_sizes(foreign: Foreign, hints: Mapping[str, int]) -> dict[str, Any]:
    """Return width, patch, depth, heads and MLP ratio of the encoder."""
    width, channels, patch, columns = shape_of(foreign.trunk, "patch_embed.proj.weight", 4)
    if channels != 3 or patch != columns:
        raise ValueError(f"patches of {patch} × {columns} px with {channels} channels; expected square patches of RGB")
    hidden = shape_of(foreign.trunk, _HIDDEN, 2)[0] if _HIDDEN in foreign.trunk else 4 * width
    sizes = {
        "embed_dim": width,
        "patch_size": patch,
        "depth": block_count(foreign.trunk),
        "num_heads": hints.get("encoder_heads") or _number(foreign, "encoder_num_heads") or usual_heads(width),
        "mlp_ratio": hidden / width,
    }
    check_encoder_arguments(sizes)
    return sizes


def _number(foreign: Foreign, name: str) -> int | None:
    """Return a whole number from the arguments in the file, None where it has none."""
    value = foreign.args.get(name)
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"the file's args state {name} {shown(value)}; expected a whole number")
    return value


def _tile_size(foreign: Foreign, hints: Mapping[str, int], patch: int) -> int:
    """Return the tile size: as told, as in the file's arguments, by the saved position code, or 224 px."""
    trunk = foreign.trunk
    patches = max(shape_of(trunk, "pos_embed", 3)[1] - _prefix_tokens(trunk), 0) if "pos_embed" in trunk else 0
    saved = math.isqrt(patches) * patch
    return hints.get("tile_size") or saved or _number(foreign, "img_size") or _number(foreign, "input_size") or 224


def _prefix_tokens(trunk: Mapping[str, Tensor]) -> int:
    return ("cls_token" in trunk) + _registers(trunk)


def _registers(trunk: Mapping[str, Tensor]) -> int:
    return shape_of(trunk, "reg_token", 3)[1] if "reg_token" in trunk else 0


def _decoder_heads(width: int, depth: int, mae: bool) -> int:
    """Return the published number of decoder heads: 16 in MAE; in SD-MAE 2 of the tiny and 3 of the small model."""
    if mae and width % 16 == 0:
        return 16
    return 2 if (width, depth) == (192, 2) else usual_heads(width)


def _head_sizes(rest: Mapping[str, Tensor]) -> dict[str, int]:
    if "encoder_proj_head.mlp.0.weight" not in rest:
        return {}
    outputs, bottleneck = shape_of(rest, "encoder_proj_head.last_layer.weight_v", 2)
    return {
        "head_hidden": shape_of(rest, "encoder_proj_head.mlp.0.weight", 2)[0],
        "head_bottleneck": bottleneck,
        "head_outputs": outputs,
    }


def _timm_name(width: int) -> str:
    return f"vit_{_NAMES.get(width, 'small')}_patch{14 if width == 1280 else 16}_224"
