"""Decoders that give a value to every pixel: UPerNet, DPT and a light linear head.

The decoders of segmentation-models-pytorch expect a pyramid with fixed strides and BatchNorm. UPerNet gets four maps at ×4,
×2, ×1 and ×½ of the patch grid (Feature2Pyramid of BEiT), so that strides follow the patch; DPT is given strides of 16
whatever the patch. Every BatchNorm becomes a GroupNorm: a pooled 1 × 1 map makes BatchNorm fail with a single tile, and
micro-batches would each have statistics of their own. Tiles one by one give the values of the batch, on grids of 4 × 4, 5 × 3
and 1 × 2 patches. Blocks behind the last one read are neither computed nor trained.
"""

from __future__ import annotations

from math import gcd

import torch.nn.functional as F
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_sdmae.config.finetune import HeadConfig
from napari_sdmae.models.heads.feature_pyramid import FeaturePyramid, Tokens, check_blocks, read_blocks


class DenseHead(nn.Module):
    """Values for every pixel from the tokens of an encoder, with an auxiliary head while training.

    Parameters
    ----------
    encoder
        The encoder whose tokens it reads; not kept.
    config
        Decoder, width, blocks read, weight of the auxiliary head (of upernet and dpt; the linear head has none).
    channels
        Values per pixel.

    Raises
    ------
    ValueError
        If the blocks do not fit the encoder.
    """

    def __init__(self, encoder: VisionTransformer, config: HeadConfig, channels: int) -> None:
        super().__init__()
        width, depth = int(encoder.embed_dim), len(encoder.blocks)
        linear = config.decoder == "linear"
        self.blocks = check_blocks(config.blocks, depth, len(config.blocks) or 1 if linear else 4)
        self.decoder = _decoder(encoder, config)
        self.classifier = nn.Conv2d(width if linear else config.width, channels, kernel_size=1)
        self.auxiliary = None if linear or not config.auxiliary else FCNHead(width, config.width, channels)

    def forward(self, encoder: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return values (B, channels, H, W) of normalised images (B, 3, H, W), and while training the auxiliary head's."""
        size = images.shape[-2:]
        read = read_blocks(encoder, images, self.blocks)
        values = _resize(self.classifier(self.decoder(read)), size)
        if self.auxiliary is None or not self.training:
            return values, None
        return values, _resize(self.auxiliary(read[2].patches), size)


class FCNHead(nn.Sequential):
    """The auxiliary head: one convolution of 3 × 3, then one value per class (FCN)."""

    def __init__(self, width: int, hidden: int, channels: int) -> None:
        convolution = nn.Conv2d(width, hidden, kernel_size=3, padding=1, bias=False)
        super().__init__(convolution, group_norm(hidden), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, kernel_size=1))


class LastTokens(nn.Module):
    """The linear head's decoder: the tokens of the last block read as they are."""

    def forward(self, read: list[Tokens]) -> Tensor:
        """Return (B, D, rows, columns)."""
        return read[-1].patches


class UPerNet(nn.Module):
    """UPerNet (Xiao et al., arXiv 1807.10221) of segmentation-models-pytorch on a pyramid of four blocks."""

    def __init__(self, encoder_width: int, width: int) -> None:
        super().__init__()
        self.pyramid = FeaturePyramid(encoder_width)
        # its first two levels, image and stride 2, are skipped; norms are exchanged as BatchNorm fails on single tiles
        decoder = UPerNetDecoder([0, 0, *[encoder_width] * 4], encoder_depth=5, decoder_channels=width)
        self.fuse = without_batch_norm(decoder)

    def forward(self, read: list[Tokens]) -> Tensor:
        """Return (B, width, 4 · rows, 4 · columns)."""
        levels = self.pyramid([tokens.patches for tokens in read])
        fused: Tensor = self.fuse([None, None, *levels])
        return fused


class DPT(nn.Module):
    """Dense prediction transformer (Ranftl et al., arXiv 2103.13413) of segmentation-models-pytorch.

    Its strides are told in patches, so that it works with any patch size.
    """

    def __init__(self, encoder_width: int, width: int, class_token: bool) -> None:
        super().__init__()
        self.class_token = class_token
        decoder = DPTDecoder(
            encoder_out_channels=[encoder_width] * 4,
            encoder_output_strides=[16] * 4,  # ×4, ×2, ×1 and ×½ of the patch grid, whatever the patch
            encoder_has_prefix_tokens=class_token,
            readout="cat",
            intermediate_channels=[width, 2 * width, 4 * width, 4 * width],
            fusion_channels=width,
        )
        self.fuse = without_batch_norm(decoder)
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False), group_norm(width), nn.ReLU(inplace=True)
        )

    def forward(self, read: list[Tokens]) -> Tensor:
        """Return (B, width, 8 · rows, 8 · columns)."""
        rows, columns = read[0].patches.shape[-2:]
        # its halved level fits the others on even grids only
        maps = [F.pad(tokens.patches, (0, columns % 2, 0, rows % 2), mode="replicate") for tokens in read]
        prefix = [tokens.prefix if self.class_token else None for tokens in read]
        fused: Tensor = self.smooth(self.fuse(maps, prefix))
        return fused[..., : 8 * rows, : 8 * columns]


def group_norm(width: int) -> nn.GroupNorm:
    """Return a GroupNorm of about 16 channels per group (Wu and He, arXiv 1803.08494): the same for any batch size."""
    return nn.GroupNorm(gcd(width, max(width // 16, 1)), width)


def without_batch_norm(module: nn.Module) -> nn.Module:
    """Exchange every BatchNorm2d in `module` for a GroupNorm, and return it."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, group_norm(child.num_features))
        else:
            without_batch_norm(child)
    return module


def _decoder(encoder: VisionTransformer, config: HeadConfig) -> nn.Module:
    width = int(encoder.embed_dim)
    if config.decoder == "upernet":
        return UPerNet(width, config.width)
    if config.decoder == "dpt":
        return DPT(width, config.width, encoder.cls_token is not None)
    return LastTokens()


def _resize(values: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)
