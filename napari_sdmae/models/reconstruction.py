"""Reconstructed tiles for people to look at."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from napari_sdmae.models.masking import num_masked_in
from napari_sdmae.models.patches import Normalisation, patchify, restore_patches, split_mask, unpatchify
from napari_sdmae.models.sdmae import SDMAE

MASKED_GREY = 128
"""Value of masked pixels in the masked picture: neither glass nor any stain."""


class ReconstructedTiles(NamedTuple):
    """Pictures of a reconstruction.

    Attributes
    ----------
    masked
        uint8, (B, H, W, 3), the input with masked patches in grey.
    reconstruction
        uint8, (B, H, W, 3), masked patches as predicted, with the true mean and spread of each patch put back; visible
        patches as in the input.
    error
        float32, (B, H, W), absolute difference to the input, mean over the channels, in [0, 1]; 0 on visible patches.
    """

    masked: Tensor
    reconstruction: Tensor
    error: Tensor


@torch.no_grad()
def reconstruct_tiles(
    model: SDMAE, tiles: Tensor, mask: Tensor, target_normalisation: Normalisation, masked: int | None = None
) -> ReconstructedTiles:
    """Reconstruct the masked patches of tiles.

    Parameters
    ----------
    model
        The model; its mode (train or eval) does not matter, SD-MAE has no dropout.
    tiles
        uint8 RGB, (B, H, W, 3), H and W multiples of the patch.
    mask
        bool, (B, L), True = masked.
    target_normalisation
        What the model was trained to predict.
    masked
        Number of masked patches per tile when known; see :meth:`SDMAE.forward`.
    """
    masked = num_masked_in(mask) if masked is None else masked
    output = model(model.normalise(tiles), mask, masked=masked, heads=False)
    patch = model.config.patch_size
    grid = tiles.shape[1] // patch, tiles.shape[2] // patch
    truth = patchify(tiles.movedim(-1, 1).float() / 255, patch)
    index = split_mask(mask, masked)[1][:, :, None].expand(-1, -1, truth.shape[2])
    predicted = restore_patches(output.reconstruction.float(), truth.gather(1, index), target_normalisation).clamp(0, 1)
    error = torch.zeros_like(truth).scatter(1, index, (predicted - truth.gather(1, index)).abs())
    return ReconstructedTiles(
        _picture(truth.masked_fill(mask[:, :, None], MASKED_GREY / 255), patch, grid),
        _picture(truth.scatter(1, index, predicted), patch, grid),
        unpatchify(error, patch, grid).mean(1),
    )


def _picture(patches: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """Return uint8 (B, H, W, 3) of patches in [0, 1]."""
    return (unpatchify(patches, patch, grid) * 255).round().to(torch.uint8).movedim(1, -1).contiguous()
