"""Attention maps of an encoded field (method, Attention without a class token)."""

from napari_sdmae.moved import renamed

__getattr__ = renamed(
    __name__,
    AttentionMap="inference.attention.result:AttentionMap",
    attention_maps="inference.attention.maps:attention_maps",
)
