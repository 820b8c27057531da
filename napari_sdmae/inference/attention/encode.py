"""One forward pass of a field, from which every attention map is answered (method, Attention without a class token).

Only queries, keys and tokens are kept: an attention matrix is recomputed in chunks of rows when it is asked for, as all of them
together would take depth × heads × N² numbers.

A click must show a new map at once, for any block, head and method, and all matrices of a ViT-S on 1024² px would take 4.8 GB.
Hooks on ``q_norm`` and ``k_norm``, which every timm attention has, keep queries and keys; rows are computed in chunks of 4 MB
(33 ms for the last block at 512 px; 49 ms with 32 MB). The forward pass uses fused attention, as it has no backward (1.03 s
against 1.43 s). Fields above 4096 patches are refused with the downsampling that fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_sdmae.io.checkpoints.load import Encoder
from napari_sdmae.io.images.field import Grid, fit_to_patches
from napari_sdmae.io.images.pictures import Picture, fit_picture
from napari_sdmae.models.encoder import is_plain
from napari_sdmae.typing import RGB

CHUNK_BYTES = 4 * 2**20
"""Size of a chunk of attention rows: it stays in the cache while it is summed, a third faster than 32 MB."""

MEAN_BYTES = 256 * 2**20
"""Head-averaged matrices are kept for rollout when those of all blocks fit: fields of up to 750 px for a ViT-S/16."""


@dataclass
class AttentionState:
    """Queries, keys and tokens of every block for one field; N tokens are `prefix` special ones, then the L patches.

    Attributes
    ----------
    queries, keys
        Per block, (heads, N, width / heads).
    tokens
        Per block, its output (N, width), before the final LayerNorm.
    norm
        The encoder's final LayerNorm; an identity in an encoder that normalises after pooling.
    scale
        Factor of q·k before the softmax.
    prefix
        Class and register tokens before the patches.
    class_token
        Whether the first prefix token is a class token.
    grid
        The patches on the field.
    summaries
        Attention received by each patch (heads, L) and mean distance (heads,) of the blocks asked for so far.
    """

    queries: list[Tensor]
    keys: list[Tensor]
    tokens: list[Tensor]
    norm: nn.Module
    scale: float
    prefix: int
    class_token: bool
    grid: Grid
    summaries: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    _means: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @property
    def blocks(self) -> int:
        """Number of transformer blocks."""
        return len(self.queries)

    @property
    def heads(self) -> int:
        """Attention heads of a block."""
        return self.queries[0].shape[0]

    @property
    def count(self) -> int:
        """Number N of tokens, prefix included."""
        return self.queries[0].shape[1]

    def rows(self, block: int, start: int, stop: int) -> Tensor:
        """Return the attention of queries `start` to `stop`, (heads, stop - start, N); every row sums to 1."""
        queries = self.queries[block][:, start:stop] * self.scale
        return (queries @ self.keys[block].transpose(1, 2)).softmax(-1)

    def chunks(self, block: int, first: int = 0) -> Iterator[tuple[slice, Tensor]]:
        """Yield the attention of all queries from `first` on, a few rows (heads, rows, N) at a time."""
        step = max(1, CHUNK_BYTES // (4 * self.heads * self.count))
        for start in range(first, self.count, step):
            stop = min(start + step, self.count)
            yield slice(start, stop), self.rows(block, start, stop)

    def mean_product(self, block: int, weights: Tensor) -> Tensor:
        """Return ``weights @ mean over heads of A``, (N,), for weights (N,) of the queries."""
        if block in self._means:
            return weights @ self._means[block]
        if self.blocks * self.count**2 * 4 <= MEAN_BYTES:
            self._means[block] = torch.cat([chunk.mean(0) for _, chunk in self.chunks(block)])
            return weights @ self._means[block]
        return sum((weights[rows] @ chunk.mean(0) for rows, chunk in self.chunks(block)), torch.zeros_like(weights))

    @torch.inference_mode()
    def normed_tokens(self, block: int) -> Tensor:
        """Return the patch tokens (L, width) after `block`, through the encoder's final LayerNorm if it has one."""
        normed: Tensor = self.norm(self.tokens[block][self.prefix :])
        return normed


@torch.inference_mode()
def encode_field(encoder: Encoder, image: RGB | Picture, *, downsample: int = 1) -> AttentionState:
    """Run `encoder` on a field and keep what its attention maps are made of.

    Parameters
    ----------
    encoder
        From :func:`napari_sdmae.io.checkpoints.load.load_encoder`.
    image
        The field, uint8 (H, W, 3) or a picture that is read in parts, of any size of at least one patch; reflected at the
        bottom and the right up to whole patches.
    downsample
        Integer by which the field is reduced first, for fields of more than ``field.MAX_TOKENS`` patches.

    Raises
    ------
    InvalidFieldError
        If the field is too small or too large; the message says what to do.
    ValueError
        If the encoder is no plain vision transformer.
    """
    vit = encoder.vit
    if not is_plain(vit):
        raise ValueError(f"the attention of a {type(vit).__name__} cannot be read; use a plain vision transformer of timm")
    fit = fit_to_patches if isinstance(image, np.ndarray) else fit_picture
    picture, grid = fit(image, encoder.patch_size, downsample)  # type: ignore[arg-type]
    device = next(vit.parameters()).device
    with _recorded(vit) as record:
        vit.forward_features(encoder.normalise(torch.from_numpy(picture)[None].to(device)))
    return AttentionState(
        record["queries"],
        record["keys"],
        record["tokens"],
        norm=vit.norm,
        scale=vit.blocks[0].attn.scale,
        prefix=vit.num_prefix_tokens,
        class_token=vit.has_class_token,
        grid=grid,
    )


@contextmanager
def _recorded(vit: VisionTransformer) -> Iterator[dict[str, list[Tensor]]]:
    """Collect q, k and output of every block while the context is open.

    The hooks sit on `q_norm` and `k_norm`, which every attention has (an identity mostly), so the block itself may run fused
    attention: forward, that is as fast as the explicit product at 200 tokens and twice as fast at 4000.
    """
    record: dict[str, list[Tensor]] = {"queries": [], "keys": [], "tokens": []}

    def keep(name: str) -> object:
        return lambda _module, _inputs, output: record[name].append(output[0])

    with ExitStack() as hooks:
        for block in vit.blocks:
            hooks.callback(setattr, block.attn, "fused_attn", block.attn.fused_attn)
            block.attn.fused_attn = True
            for name, module in (("queries", block.attn.q_norm), ("keys", block.attn.k_norm), ("tokens", block)):
                hooks.callback(module.register_forward_hook(keep(name)).remove)
        yield record
