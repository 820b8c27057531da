"""The decoder: timm blocks over visible tokens and mask tokens, then one Linear to pixels (method, step 4)."""

from __future__ import annotations

from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.models.patches import gather_tokens
from napari_sdmae.models.position import fixed_code, resize_code


class Decoder(nn.Module):
    """Blocks, final LayerNorm and pixel head, with a fixed position code that is saved with the weights.

    Parameters
    ----------
    config
        Architecture; a learned encoder code (``position="encoder"``) goes with ``sincos2d`` here, as in MAE.
    prefix
        Class and register tokens that come before the patches; they have no position.
    """

    pos_embed: Tensor

    def __init__(self, config: ModelConfig, prefix: int) -> None:
        super().__init__()
        width, self.prefix, self.grid = config.decoder_width, prefix, (config.grid, config.grid)
        kind = "sincos2d" if config.position == "encoder" else config.position
        code = torch.cat([torch.zeros(prefix, width), fixed_code(kind, self.grid, width)])
        self.register_buffer("pos_embed", code[None])
        norm = partial(nn.LayerNorm, eps=1e-6)
        make = partial(Block, width, config.decoder_heads, mlp_ratio=config.mlp_ratio, qkv_bias=True, norm_layer=norm)
        self.blocks = nn.Sequential(*[make() for _ in range(config.decoder_depth)])
        self.norm = norm(width)
        self.head = nn.Linear(width, config.patch_size**2 * 3)

    def forward(
        self, encoded: Tensor, mask_token: Tensor, visible: Tensor, masked: Tensor, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Decode all tokens.

        Parameters
        ----------
        encoded
            Encoder tokens in the decoder's width, (B, prefix + V, D).
        mask_token
            (1, 1, D).
        visible, masked
            Indices of the visible (B, V) and masked (B, M) patches.
        grid
            Rows and columns of patches.

        Returns
        -------
        tuple of Tensor
            Decoded tokens (B, V + M, D), the visible ones first, and the pixels of the masked patches (B, M, P·P·3). Position is
            in the code, so none needs to be moved back.
        """
        code = resize_code(self.pos_embed, self.grid, grid, self.prefix).expand(len(encoded), -1, -1)
        prefix, patches = code[:, : self.prefix], code[:, self.prefix :]
        seen = encoded + torch.cat([prefix, gather_tokens(patches, visible)], 1)
        hidden = mask_token + gather_tokens(patches, masked)
        decoded = self.norm(self.blocks(torch.cat([seen, hidden], 1)))
        return decoded[:, self.prefix :], self.head(decoded[:, seen.shape[1] :])
