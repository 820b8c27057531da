"""How much memory training takes, estimated before it starts.

The model is built on the meta device, which gives the number of its weights without the weights. In bytes:

    weights      4 per weight, 12 more per trained one (gradient and AdamW's two moments), 2 for the copy that bf16 computes with
    activations  tiles at once × (encoder blocks of the visible tokens + decoder blocks of all tokens + heads + pixels)
    block        tokens × width × (2 wide + (7 + 2 · MLP ratio) narrow values) + heads × tokens² for the attention map
    program      Python and PyTorch, or the GPU's context

Wide values (inputs of norms, attention maps) have 4 bytes, narrow ones (inputs of matrix products) 2 in bf16, else 4. A block
keeps for its backward pass the inputs of both norms (wide), the inputs of four matrix products (two of them of the MLP's
width, with the one before its GELU), queries, keys and values. The fused attention of a GPU keeps no map.

A formula and not a trial step, which would need the memory it asks about. Measured peaks on two CPU cores, fp32: ``cpu-demo``
(pooled target), batch 64, 1.09 GB against 1.01 GB estimated; ``vit-tiny``, 96 px, batch 16, 1.29 against 1.21 GB. Against the
bytes that a step keeps on a GPU by its shapes the estimate is 1.00 to 1.36 times as large (docs/decisions/0123).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.models.masking import num_masked
from napari_sdmae.models.sdmae import SDMAE, freeze_unused

PROGRAM = 1_000_000_000
"""Bytes of a process that trains, without model and tiles, measured on Linux with PyTorch 2.14; a CUDA context is not larger."""
PIXEL_COPIES = 4
"""float32 copies of the masked patches while the loss is computed: true, normalised, predicted, and their difference."""
TILE_COPIES = 3
"""float32 copies of a tile: augmented, normalised, in patches."""


@dataclass(frozen=True)
class TrainingMemory:
    """What one device needs, in bytes: once, and for each of the `tiles` computed at once."""

    fixed: int
    per_tile: int
    tiles: int

    @property
    def total(self) -> int:
        """Bytes needed in all."""
        return self.fixed + self.tiles * self.per_tile

    def fitting(self, free: int) -> int:
        """Return how many tiles at once fit into `free` bytes, at most `tiles`; 0 if not even one does."""
        return max(0, min(self.tiles, (free - self.fixed) // self.per_tile))


def training_memory(config: PretrainConfig, *, explicit: bool, bf16: bool, tiles: int | None = None) -> TrainingMemory:
    """Estimate the memory that one device needs to train with `config`; within about a third of what is measured.

    Parameters
    ----------
    config
        The settings.
    explicit
        Whether attention maps are kept, as on the CPU, rather than computed by a fused kernel.
    bf16
        Whether matrix products run in bf16.
    tiles
        Tiles there are, when known: a batch is never larger.

    Raises
    ------
    ValueError
        If the model cannot be built, or the mask ratio does not fit it.
    """
    with torch.device("meta"):
        model = SDMAE(config.model)
    freeze_unused(model, config.loss)
    weights = sum(weight.numel() for weight in model.parameters())
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    batch = min(config.batch_size, tiles or config.batch_size)
    fixed = PROGRAM + (6 if bf16 else 4) * weights + 12 * trained
    return TrainingMemory(fixed, _tile_bytes(config, model, explicit, 2 if bf16 else 4), min(config.micro_batch or batch, batch))


def _tile_bytes(config: PretrainConfig, model: SDMAE, explicit: bool, narrow: int) -> int:
    """Return the bytes that one tile keeps until its backward pass."""
    shape, patches = config.model, config.model.grid**2
    masked = num_masked(config.mask_ratio, patches)
    visible, prefix = patches - masked, int(model.encoder.num_prefix_tokens)
    width, heads = int(model.encoder.embed_dim), int(model.encoder.blocks[0].attn.num_heads)

    def blocks(count: int, tokens: int, width: int, heads: int) -> int:
        values = round(tokens * width * (2 * 4 + (7 + 2 * shape.mlp_ratio) * narrow))
        return count * (values + (4 * heads * tokens**2 if explicit else 0))

    encoder = blocks(len(model.encoder.blocks), prefix + visible, width, heads)
    decoder = blocks(shape.decoder_depth, prefix + patches, shape.decoder_width, shape.decoder_heads)
    pixels = 4 * (PIXEL_COPIES * masked * shape.patch_size**2 * 3 + TILE_COPIES * shape.tile_size**2 * 3)
    return config.loss.views * (encoder + decoder + _head_bytes(config, visible, narrow) + pixels)


def _head_bytes(config: PretrainConfig, visible: int, narrow: int) -> int:
    """Return the bytes of both heads: two hidden layers before and after their GELU, bottleneck and its direction, logits."""
    if config.loss.p == 0:
        return 0
    shape, rows = config.model, visible if config.loss.target == "token" else 1
    if shape.head == "embedding":
        rows = 1 + (min(config.loss.compared_patches, visible) if config.loss.target != "image" else 0)
        return 2 * rows * (2 * narrow * shape.head_hidden + 2 * 4 * shape.head_bottleneck)
    if shape.head == "predictor":
        return 4 * narrow * visible * shape.head_hidden
    logits = 4 * rows * shape.head_outputs * 4  # of each head: cosines, scaled, their logarithm, probabilities
    return 2 * (visible * (4 * narrow * shape.head_hidden + 2 * 4 * shape.head_bottleneck) + logits)
