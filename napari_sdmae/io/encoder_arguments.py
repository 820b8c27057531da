"""The arguments with which timm builds an encoder once more, with nothing left to defaults or file names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.models.vision_transformer import VisionTransformer

_OURS = {"num_classes", "dynamic_img_size", "drop_path_rate", "drop_rate", "in_chans", "pretrained", "pretrained_cfg"}


def arguments_of(vit: VisionTransformer, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given`, with the sizes of `vit` stated and what every encoder here has alike left out."""
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
