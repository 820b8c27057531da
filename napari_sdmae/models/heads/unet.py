"""A U-Net whose deepest level is the encoder's tokens: outlines from the picture's own pixels, meaning from the encoder.

Tokens stand a patch apart, 16 px or 4 µm at the scale of nuclei, so that neighbours share some. A convolutional path on the
picture itself (the first half of timm's ResNet-18, strides 2, 4 and 8) keeps what lies between them, and is joined with the
tokens on the way up, as UNETR (Hatamizadeh et al., arXiv 2103.10504), CellViT (Hörst et al., arXiv 2306.15350) and ViTMatte
(Yao et al., arXiv 2305.15272) do. The answer is at stride 2: a step of two tiles of 256 px takes 1.1 s of one
thread, where a plain U-Net that answers at stride 1 takes 1.4 s.

Its norms are BatchNorms, unlike those of the other decoders: no level is smaller than 2 × 2, and few steps teach more. On
seven images of nuclei and in five minutes of a core (one seed each, without tokens), GroupNorm gave an AJI of .36 where BatchNorm
gave .52 (docs/decisions/0141).
"""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from napari_sdmae.models.heads.feature_pyramid import Tokens

DEEPEST = 16
"""Stride of the deepest level, px: tokens that stand closer or farther apart are brought to it."""


class TokenUNet(nn.Module):
    """Features at stride 2 from a picture and the tokens of some blocks.

    Parameters
    ----------
    encoder_width
        Channels of the tokens.
    blocks
        Blocks read.
    width
        Channels at stride 8; ¾ and ½ of it at strides 4 and 2.
    """

    def __init__(self, encoder_width: int, blocks: int, width: int) -> None:
        super().__init__()
        self.detail = timm.create_model("resnet18", features_only=True, out_indices=(0, 1, 2), pretrained=False)
        fine, middle, coarse = self.detail.feature_info.channels()
        self.tokens = nn.Sequential(LayerNorm2d(encoder_width * blocks), nn.Conv2d(encoder_width * blocks, 2 * width, 1))
        self.channels = width // 2
        self.ups = nn.ModuleList(
            [
                _Up(2 * width, coarse, width),
                _Up(width, middle, 3 * width // 4),
                _Up(3 * width // 4, fine, self.channels),
            ]
        )

    def forward(self, read: list[Tokens], images: Tensor) -> Tensor:
        """Return (B, width / 2, H / 2, W / 2) of normalised images (B, 3, H, W) and the tokens read of them."""
        skips: list[Tensor] = self.detail(images)
        deepest: Tensor = self.tokens(torch.cat([tokens.patches for tokens in read], 1))
        size = [max(length // DEEPEST, 1) for length in images.shape[-2:]]
        rising = _enlarged(deepest, size)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            rising = up(rising, skip)
        return rising


class _Up(nn.Module):
    """One level up: enlarge, join with the level's own features, two convolutions of 3 × 3."""

    def __init__(self, deeper: int, skip: int, out: int) -> None:
        super().__init__()
        self.join = nn.Sequential(*_convolution(deeper + skip, out), *_convolution(out, out))

    def forward(self, deeper: Tensor, skip: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat([_enlarged(deeper, skip.shape[-2:]), skip], 1))
        return joined


def _convolution(channels: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


def _enlarged(values: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(values, size=tuple(size), mode="bilinear", align_corners=False)
