"""Images to patches and back, masked and visible patches, and the pixel target (method, step 7).

A patch is flattened row by row with the channel fastest: value ``(row * P + column) * 3 + channel``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalisation = Literal["patch_channel", "patch", "none"]


def standardise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (image - mean) / std as (B, 3, H, W).

    Parameters
    ----------
    images
        RGB, uint8 or float in [0, 1], (B, H, W, 3) or (B, 3, H, W).
    mean, std
        (1, 3, 1, 1), of [0, 1] pixels.
    """
    if images.shape[-1] == 3:
        images = images.movedim(-1, 1)
    scaled = images.to(mean.dtype) / 255 if images.dtype == torch.uint8 else images
    return (scaled - mean) / std


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images into patches.

    Parameters
    ----------
    images
        (B, 3, H, W); H and W multiples of `patch`.
    patch
        Edge P of a patch in pixels.

    Returns
    -------
    Tensor
        (B, L, P·P·3), the L = H/P · W/P patches row by row.

    Raises
    ------
    ValueError
        If the image is not divisible into patches.
    """
    batch, channels, height, width = images.shape
    if height % patch or width % patch:
        raise ValueError(f"image of {height} x {width} px cannot be cut into {patch} px patches; crop or pad it to a multiple")
    cells = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def unpatchify(patches: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """Put patches (B, L, P·P·3) of a `grid` (rows, columns) back together: (B, 3, H, W)."""
    rows, columns = grid
    cells = patches.reshape(patches.shape[0], rows, columns, patch, patch, -1)
    return cells.permute(0, 5, 1, 3, 2, 4).reshape(patches.shape[0], -1, rows * patch, columns * patch)


def split_channels(patches: Tensor) -> Tensor:
    """Return patches (…, P·P·3) as pixels and channels (…, P·P, 3)."""
    return patches.reshape(*patches.shape[:-1], -1, 3)


def patch_statistics(patches: Tensor, how: Normalisation) -> tuple[Tensor, Tensor]:
    """Return what normalisation `how` subtracts from and divides patches (…, P·P·3) by.

    ``patch_channel``: mean and √(unbiased variance) + 1e-6 of each channel over the pixels (SD-MAE).
    ``patch``: mean and √(unbiased variance + 1e-6) over pixels and channels together (MAE, He et al. 2022).
    ``none``: 0 and 1.

    Returns
    -------
    tuple of Tensor
        Shift and scale, broadcastable to (…, P·P, 3).
    """
    pixels = split_channels(patches)
    if how == "patch_channel":
        return pixels.mean(-2, keepdim=True), pixels.var(-2, keepdim=True).sqrt() + 1e-6
    if how == "patch":
        return pixels.mean((-2, -1), keepdim=True), (pixels.var((-2, -1), keepdim=True) + 1e-6).sqrt()
    if how == "none":
        return torch.zeros_like(pixels[..., :1, :1]), torch.ones_like(pixels[..., :1, :1])
    raise ValueError(f"unknown target normalisation {how!r}; expected patch_channel, patch or none")


def normalise_patches(patches: Tensor, how: Normalisation) -> Tensor:
    """Return the pixel target of patches (…, P·P·3) of [0, 1] pixels; see :func:`patch_statistics`."""
    shift, scale = patch_statistics(patches, how)
    return ((split_channels(patches) - shift) / scale).flatten(-2)


def restore_patches(predicted: Tensor, true_patches: Tensor, how: Normalisation) -> Tensor:
    """Put the mean and spread of the true patches back into predicted ones, both (…, P·P·3).

    The model predicts normalised patches, so it never knows their colour and contrast: whoever shows
    the result must say that these were taken from the original.
    """
    shift, scale = patch_statistics(true_patches, how)
    return (split_channels(predicted) * scale + shift).flatten(-2)


def split_mask(mask: Tensor, masked: int) -> tuple[Tensor, Tensor]:
    """Return the indices of visible (B, L - masked) and masked (B, masked) patches, each in raster order.

    Needs no answer from the device: the number is known, and a stable sort of False before True gives both lists.
    """
    order = mask.byte().argsort(dim=1, stable=True)
    visible = mask.shape[1] - masked
    return order[:, :visible], order[:, visible:]


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Return the tokens (B, N, D) of (B, L, D) at `index` (B, N)."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))
