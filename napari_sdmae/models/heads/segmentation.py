"""Decoders that give a value to every pixel: a U-Net on the tokens, UPerNet, DPT and a light linear head.

The decoders of segmentation-models-pytorch expect a pyramid with fixed strides and BatchNorm. UPerNet gets four maps at ×4,
×2, ×1 and ×½ of the patch grid (Feature2Pyramid of BEiT), so that strides follow the patch; DPT is given strides of 16
whatever the patch. Tiles one by one give the values of the batch, on grids of 4 × 4, 5 × 3 and 1 × 2 patches. Blocks behind the
last one read are neither computed nor trained.
"""

from __future__ import annotations

import torch.nn.functional as F
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_sdmae.config.finetune import HeadConfig
from napari_sdmae.models.heads.feature_pyramid import FeaturePyramid, Tokens, check_blocks, read_blocks
from napari_sdmae.models.heads.normalisation import group_norm, without_batch_norm
from napari_sdmae.models.heads.unet import TokenUNet

BLOCKS = {"linear": 1, "unet": 2, "upernet": 4, "dpt": 4}
"""How many blocks each decoder reads where none are named."""


class DenseHead(nn.Module):
    """Values for every pixel from the tokens of an encoder, with an auxiliary head while training.

    Parameters
    ----------
    encoder
        The encoder whose tokens it reads; not kept.
    config
        Decoder, width, blocks read, weight of the auxiliary head (of upernet and dpt).
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
        pyramid = config.decoder in ("upernet", "dpt")
        count = BLOCKS[config.decoder]
        self.blocks = check_blocks(config.blocks, depth, count if pyramid else len(config.blocks) or count)
        self.decoder = _decoder(encoder, config, len(self.blocks))
        self.classifier = nn.Conv2d(self.decoder.channels, channels, kernel_size=1)
        self.auxiliary = FCNHead(width, config.width, channels) if pyramid and config.auxiliary else None

    def forward(self, encoder: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return values (B, channels, H, W) of normalised images (B, 3, H, W), and while training the auxiliary head's."""
        size = images.shape[-2:]
        read = read_blocks(encoder, images, self.blocks)
        values = _resize(self.classifier(self.decoder(read, images)), size)
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

    def __init__(self, encoder_width: int) -> None:
        super().__init__()
        self.channels = encoder_width

    def forward(self, read: list[Tokens], images: Tensor) -> Tensor:
        """Return (B, D, rows, columns)."""
        return read[-1].patches


class UPerNet(nn.Module):
    """UPerNet (Xiao et al., arXiv 1807.10221) of segmentation-models-pytorch on a pyramid of four blocks."""

    def __init__(self, encoder_width: int, width: int) -> None:
        super().__init__()
        self.channels = width
        self.pyramid = FeaturePyramid(encoder_width)
        # its first two levels, image and stride 2, are skipped; norms are exchanged as BatchNorm fails on single tiles
        decoder = UPerNetDecoder([0, 0, *[encoder_width] * 4], encoder_depth=5, decoder_channels=width)
        self.fuse = without_batch_norm(decoder)

    def forward(self, read: list[Tokens], images: Tensor) -> Tensor:
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
        self.class_token, self.channels = class_token, width
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

    def forward(self, read: list[Tokens], images: Tensor) -> Tensor:
        """Return (B, width, 8 · rows, 8 · columns)."""
        rows, columns = read[0].patches.shape[-2:]
        # its halved level fits the others on even grids only
        maps = [F.pad(tokens.patches, (0, columns % 2, 0, rows % 2), mode="replicate") for tokens in read]
        prefix = [tokens.prefix if self.class_token else None for tokens in read]
        fused: Tensor = self.smooth(self.fuse(maps, prefix))
        return fused[..., : 8 * rows, : 8 * columns]


def _decoder(encoder: VisionTransformer, config: HeadConfig, blocks: int) -> LastTokens | TokenUNet | UPerNet | DPT:
    width = int(encoder.embed_dim)
    if config.decoder == "unet":
        return TokenUNet(width, blocks, config.width)
    if config.decoder == "upernet":
        return UPerNet(width, config.width)
    if config.decoder == "dpt":
        return DPT(width, config.width, encoder.cls_token is not None)
    return LastTokens(width)


def _resize(values: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)
