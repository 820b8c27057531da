"""Features of a plain vision transformer at several scales, for decoders that were made for pyramids.

A plain transformer has one scale, that of its patches. From it come four maps at ×4, ×2, ×1 and ×½ of the patch grid: with
patches of 16 px strides of 4, 8, 16 and 32 px, with patches of 8 px half of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from timm.layers import LayerNorm2d
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

SCALES = (4.0, 2.0, 1.0, 0.5)
"""Of the maps, relative to the patch grid, finest first."""


class Tokens(NamedTuple):
    """What one block says.

    Attributes
    ----------
    patches
        Tokens of the patches in their places, (B, D, rows, columns).
    prefix
        Class and register tokens, (B, N, D); None where there are none.
    """

    patches: Tensor
    prefix: Tensor | None


def spread_blocks(depth: int, count: int = 4) -> tuple[int, ...]:
    """Return `count` blocks evenly spread over `depth`, the last among them: 3, 5, 7, 11 of 12 as in the paper.

    Of encoders with fewer blocks than `count` some are read twice.
    """
    if (depth, count) == (12, 4):
        return 3, 5, 7, 11
    return tuple(max(-(-depth * (place + 1) // count) - 1, 0) for place in range(count))


def check_blocks(blocks: Sequence[int], depth: int, count: int) -> tuple[int, ...]:
    """Return the blocks that a head reads: `count` of them, or spread evenly where none are given.

    Raises
    ------
    ValueError
        If there are not `count`, they do not ascend, or the encoder has no such block.
    """
    if not blocks:
        return spread_blocks(depth, count)
    if len(blocks) != count or list(blocks) != sorted(set(blocks)) or blocks[0] < 0 or blocks[-1] >= depth:
        raise ValueError(
            f"head.blocks {list(blocks)}: expected {count} ascending block numbers from 0 to {depth - 1}, "
            "or none for evenly spread"
        )
    return tuple(blocks)


def read_blocks(vit: VisionTransformer, images: Tensor, blocks: Sequence[int]) -> list[Tokens]:
    """Return the tokens of some blocks; those of the encoder's last block after its final LayerNorm.

    Blocks behind the last one read are not computed.

    Parameters
    ----------
    vit
        The encoder.
    images
        Normalised, (B, 3, H, W); H and W multiples of the patch.
    blocks
        Block numbers from 0; a block may be named twice.
    """
    wanted = sorted(set(blocks))
    maps = vit.forward_intermediates(images, indices=wanted, return_prefix_tokens=True, stop_early=True, intermediates_only=True)
    found = dict(zip(wanted, (Tokens(*one) if isinstance(one, tuple) else Tokens(one, None) for one in maps), strict=True))
    last = len(vit.blocks) - 1
    if last in found:
        found[last] = _finished(vit, found[last])
    return [found[block] for block in blocks]


def last_tokens(vit: VisionTransformer, images: Tensor) -> Tokens:
    """Return the tokens of the last block after the final LayerNorm; arguments as in :func:`read_blocks`."""
    return read_blocks(vit, images, [len(vit.blocks) - 1])[0]


def _finished(vit: VisionTransformer, tokens: Tokens) -> Tokens:
    """Apply the final LayerNorm, which timm keeps in ``fc_norm`` when the classifier averages tokens."""

    def norm(values: Tensor) -> Tensor:
        done: Tensor = vit.fc_norm(vit.norm(values))
        return done

    patches = norm(tokens.patches.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(tokens.patches.shape)
    return Tokens(patches, None if tokens.prefix is None else norm(tokens.prefix))


class FeaturePyramid(nn.Module):
    """Four maps (B, D, rows, columns) of the same size to ×4, ×2, ×1 and ×½ (Feature2Pyramid of BEiT).

    Up by transposed convolutions, down by max-pooling.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList([_twice(width, width, width), _doubled(width, width), nn.Identity(), _halved()])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the four maps, finest first; odd grids are rounded up when halved."""
        return [level(one) for level, one in zip(self.levels, maps, strict=True)]


class SimpleFeaturePyramid(nn.Module):
    """The last block's tokens alone at ×4, ×2, ×1 and ×½ (ViTDet; Li, Mao, Girshick, He, arXiv 2203.16527).

    Parameters
    ----------
    width
        Channels of the encoder.
    out
        Channels of the maps.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        half, quarter = max(width // 2, 1), max(width // 4, 1)
        ups = [_twice(width, half, quarter), _doubled(width, half), nn.Identity(), _halved()]
        channels = (quarter, half, width, width)
        self.levels = nn.ModuleList(nn.Sequential(up, *_smoothed(found, out)) for up, found in zip(ups, channels, strict=True))

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return maps (B, out, …), finest first, of the tokens (B, D, rows, columns)."""
        return [level(tokens) for level in self.levels]


def _doubled(width: int, out: int) -> nn.Module:
    return nn.ConvTranspose2d(width, out, kernel_size=2, stride=2)


def _twice(width: int, between: int, out: int) -> nn.Module:
    return nn.Sequential(_doubled(width, between), LayerNorm2d(between), nn.GELU(), _doubled(between, out))


def _halved() -> nn.Module:
    return nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=True)


def _smoothed(width: int, out: int) -> list[nn.Module]:
    first = nn.Conv2d(width, out, kernel_size=1, bias=False)
    second = nn.Conv2d(out, out, kernel_size=3, padding=1, bias=False)
    return [first, LayerNorm2d(out), second, LayerNorm2d(out)]
