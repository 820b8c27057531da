"""Position codes of the patches, and their interpolation to other image sizes (method, step 3).

Position codes are tensors of the checkpoint, since published checkpoints hold none and a 1-D code over the raster index is
wrong at any other input size. timm's bicubic, antialiased resampling interpolates them over their grid in encoder and decoder,
so that this model and the exported timm encoder agree at every size. With a learned encoder code the decoder keeps
``sincos2d``, as in MAE.
"""

from __future__ import annotations

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor


def _angles(position: Tensor, width: int) -> Tensor:
    """Return position · 10000^(-2i / width) for i = 0 … ⌈width / 2⌉ - 1, float64 (L, ⌈width / 2⌉)."""
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return position.double()[:, None] * frequency


def sincos1d(grid: tuple[int, int], width: int) -> Tensor:
    """Return the paper's code over the raster index: sine on even, cosine on odd channels, base 10000.

    Parameters
    ----------
    grid
        Rows and columns of patches.
    width
        Channels D.

    Returns
    -------
    Tensor
        float32, (rows · columns, D).
    """
    angles = _angles(torch.arange(grid[0] * grid[1]), width)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)[:, :width].float()


def sincos2d(grid: tuple[int, int], width: int) -> Tensor:
    """Return a code of columns in the first and rows in the second half of the channels, each sines then cosines, base 10000.

    The order of MAE (He et al. 2022), float32 (rows · columns, D).

    Raises
    ------
    ValueError
        If the width is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"the sincos2d position code needs a width divisible by 4, got {width}; change it or use sincos1d")
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    angles = [_angles(axis.flatten(), width // 2) for axis in (columns, rows)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1).float()


def fixed_code(kind: str, grid: tuple[int, int], width: int) -> Tensor:
    """Return the fixed code `kind` (``sincos1d`` or ``sincos2d``), (rows · columns, D)."""
    return sincos1d(grid, width) if kind == "sincos1d" else sincos2d(grid, width)


def resize_code(code: Tensor, saved: tuple[int, int], wanted: tuple[int, int], prefix: int = 0) -> Tensor:
    """Interpolate a code (1, prefix + rows · columns, D) from the `saved` to the `wanted` grid (bicubic, antialiased).

    The code of the first `prefix` tokens is kept. Unchanged when the grids agree.
    """
    resized: Tensor = resample_abs_pos_embed(code, list(wanted), list(saved), num_prefix_tokens=prefix)
    return resized
