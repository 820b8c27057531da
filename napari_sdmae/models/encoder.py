"""The encoder: a plain vision transformer of timm, of any size, with a position code that can be interpolated.

The key third of each ``qkv`` bias stays 0. A constant added to all keys adds the same number to every score of a query, which
the softmax removes, so its gradient is rounding noise; AdamW divides by the size of that noise and would move the bias by a
full learning rate per step. With normalised keys (``qk_norm``) the bias matters and trains.
"""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
from timm.layers import PatchEmbed
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.models.patches import gather_tokens
from napari_sdmae.models.position import fixed_code, resize_code

_PLAIN = "choose a vit_tiny, vit_small, vit_base … of timm, such as vit_small_patch16_224, with a width that its heads divide"


def encoder_arguments(config: ModelConfig) -> dict[str, Any]:
    """Return the arguments with which timm builds the encoder of `config`."""
    chosen = {"embed_dim": config.encoder_width, "depth": config.encoder_depth, "num_heads": config.encoder_heads}
    return {
        "img_size": config.tile_size,
        "patch_size": config.patch_size,
        "mlp_ratio": config.mlp_ratio,
        "class_token": config.class_token,
        "global_pool": "",
        "fc_norm": False,
        **{name: value for name, value in chosen.items() if value is not None},
    }


def build_encoder(config: ModelConfig) -> VisionTransformer:
    """Return the timm encoder of `config` with random weights, its position code, and no classifier.

    Raises
    ------
    ValueError
        If timm has no such model, if it is not a plain vision transformer, or if its sizes do not fit together.
    """
    vit = create_plain_vit(config.encoder, encoder_arguments(config))
    if config.position != "encoder":
        _fix_position_code(vit, config)
    elif vit.pos_embed is None:
        raise ValueError(f"{config.encoder} has no position code of its own; choose position sincos1d or sincos2d")
    return vit


def create_plain_vit(name: str, arguments: dict[str, Any]) -> VisionTransformer:
    """Return timm's plain vision transformer `name` without classifier, taking images of any size divisible by its patch.

    Raises
    ------
    ValueError
        If there is no such model, it is not plain, or the arguments do not fit it.
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models("vit_*"), 3)
        raise ValueError(f"timm has no model {name!r}" + (f"; did you mean {', '.join(close)}?" if close else ""))
    try:
        vit = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True, **arguments)
    except (TypeError, AssertionError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be built as a plain vision transformer: {error}; {_PLAIN}") from error
    if not is_plain(vit):
        raise ValueError(f"{name} is not a plain vision transformer, which SD-MAE needs to leave patches out; {_PLAIN}")
    return vit


def is_plain(vit: Any) -> bool:
    """Return whether `vit` is timm's VisionTransformer with one convolution as patch embedding and ordinary attention."""
    if type(vit) is not VisionTransformer or type(vit.patch_embed) is not PatchEmbed:
        return False
    return all(isinstance(getattr(block, "attn", None), Attention) for block in vit.blocks)


def _fix_position_code(vit: VisionTransformer, config: ModelConfig) -> None:
    """Give `vit` the fixed code of `config`, zero for its class and register tokens, and take it from training."""
    code = fixed_code(config.position, (config.grid, config.grid), vit.embed_dim)
    prefix = torch.zeros(prefix_codes(vit), vit.embed_dim)
    vit.pos_embed = nn.Parameter(torch.cat([prefix, code])[None], requires_grad=False)


def prefix_codes(vit: VisionTransformer) -> int:
    """Return how many of the position codes belong to class and register tokens."""
    return 0 if vit.no_embed_class else int(vit.num_prefix_tokens)


def encode_visible(vit: VisionTransformer, patches: Tensor, visible: Tensor, grid: tuple[int, int]) -> Tensor:
    """Encode the visible patches only.

    Parameters
    ----------
    vit
        The encoder.
    patches
        All patches, (B, L, P·P·3), normalised pixels.
    visible
        Indices of the visible ones, (B, V).
    grid
        Rows and columns of patches, L = rows · columns.

    Returns
    -------
    Tensor
        (B, prefix + V, D) after the final LayerNorm; class and register tokens first.
    """
    tokens = vit.patch_embed.norm(_embed(vit, gather_tokens(patches, visible)))
    code = resize_code(vit.pos_embed, vit.patch_embed.grid_size, grid, prefix_codes(vit))
    split = prefix_codes(vit)
    tokens = tokens + gather_tokens(code[:, split:].expand(len(patches), -1, -1), visible)
    prefix = [token for token in (vit.cls_token, vit.reg_token) if token is not None]
    if prefix:
        first = torch.cat(prefix, 1)
        first = first + code[:, :split] if split else first
        tokens = torch.cat([first.expand(len(patches), -1, -1), tokens], 1)
    encoded: Tensor = vit.norm(vit.blocks(vit.norm_pre(tokens)))
    return encoded


def _embed(vit: VisionTransformer, patches: Tensor) -> Tensor:
    """Apply the patch convolution to flattened patches (…, P·P·3): its weight reordered to channel-fastest is a Linear."""
    weight = vit.patch_embed.proj.weight.permute(0, 2, 3, 1).flatten(1)
    return nn.functional.linear(patches, weight, vit.patch_embed.proj.bias)


def set_attention(model: nn.Module, explicit: bool) -> None:
    """Compute attention in every block of `model` by matrix products (explicit) or by PyTorch's fused kernel.

    The fused kernel is right on CUDA; on the CPU its backward is 5 to 10 times slower at these lengths.
    """
    for module in model.modules():
        if isinstance(module, Attention):
            module.fused_attn = not explicit


def freeze_key_bias(model: nn.Module) -> None:
    """Keep the key part of every attention bias as it is (0 from the start): give it no gradient.

    A shift of all keys changes no attention weight, so its gradient is 0 up to rounding, but AdamW would turn that
    rounding noise into steps of full size. With normalised keys the bias does matter and is left alone.
    """
    for module in model.modules():
        if isinstance(module, Attention) and module.qkv.bias is not None and isinstance(module.k_norm, nn.Identity):
            module.qkv.bias.register_hook(_without_key_part)


def _without_key_part(gradient: Tensor) -> Tensor:
    query, key, value = gradient.chunk(3)
    return torch.cat([query, torch.zeros_like(key), value])
