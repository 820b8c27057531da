"""Masked reconstruction of a whole field, tile by tile.

The field is cut into tiles of the training size from its upper left corner; each has its own mask, drawn from (seed, number of
the tile). A model loaded from elsewhere must be told what it predicts, since a wrong guess gives wrong colours without an
error. For display each patch gets its true mean and spread back, which every result and file states.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sdmae.config.pretrain import MASK_RATIO
from napari_sdmae.io.checkpoints.load import load_model, model_info
from napari_sdmae.io.images.field import check_size, pad_to_multiple
from napari_sdmae.models import SDMAE, random_mask, reconstruct_tiles
from napari_sdmae.models.patches import Normalisation
from napari_sdmae.rng import MASK, uniforms
from napari_sdmae.typing import RGB

BATCH_PIXELS = 16 * 224 * 224
"""Pixels reconstructed at once; about 0.5 GB for a ViT-S."""


@dataclass(frozen=True)
class Reconstruction:
    """Pictures of the size of the field, (H, W, …).

    Attributes
    ----------
    masked
        uint8 (H, W, 3), masked patches in mid grey.
    reconstruction
        uint8 (H, W, 3), masked patches as predicted, **with the true mean and spread of each patch put back** (unless the model
        predicts raw pixels); visible patches as in the field.
    error
        float32 (H, W), absolute difference to the field, mean over the channels, in [0, 1]; 0 on visible patches.
    mask
        bool (H, W), True = masked.
    """

    masked: RGB
    reconstruction: RGB
    error: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @property
    def mean_error(self) -> float:
        """Mean of the error over the masked pixels, in [0, 1]; 0 if none lies inside the field."""
        return float(self.error[self.mask].mean()) if self.mask.any() else 0.0


@torch.inference_mode()
def reconstruct(
    model: SDMAE | str | Path,
    image: RGB,
    *,
    mask_ratio: float = MASK_RATIO,
    seed: int = 0,
    target_normalisation: str | None = None,
) -> Reconstruction:
    """Hide patches of a field and let `model` fill them in.

    The field is cut into tiles of the size the model was trained on, from its upper left corner; what is missing at the right and
    the bottom is reflected. Each tile gets its own random mask, which depends on the seed and the tile's place alone.

    Parameters
    ----------
    model
        Run folder, model folder or name of a shipped model; or a loaded model, together with its target normalisation.
    image
        The field, uint8 (H, W, 3), of any size of at least one patch.
    mask_ratio
        Fraction of the patches of each tile to hide, in (0, 1).
    seed
        0 to 2**63 - 1; the same seed hides the same patches.
    target_normalisation
        What the model was trained to predict, patch_channel, patch or none; None: as its folder says.

    Raises
    ------
    InvalidFieldError
        If the field is smaller than one patch.
    ValueError
        If the ratio hides no patch or all, the seed is out of bounds, or the model is an encoder without decoder.
    """
    model, how = _opened(model, target_normalisation)
    size, patch = model.config.tile_size, model.config.patch_size
    check_size(image, patch)
    if not 0 < mask_ratio < 1:
        raise ValueError(f"mask ratio {mask_ratio}: expected a fraction of the patches between 0 and 1, such as {MASK_RATIO}")
    padded = pad_to_multiple(image, size)
    rows, columns = padded.shape[0] // size, padded.shape[1] // size
    tiles = padded.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
    mask = random_mask(uniforms(seed, 0, np.arange(len(tiles)), model.config.grid**2, MASK), mask_ratio)
    parts = _reconstructed(model, tiles, mask, how)
    patches = mask.reshape(-1, model.config.grid, model.config.grid)
    parts.append(patches.repeat(patch, axis=1).repeat(patch, axis=2))
    masked, pixels, error, hidden = (_joined(part, rows, columns)[: image.shape[0], : image.shape[1]] for part in parts)
    return Reconstruction(masked, pixels, error, hidden)


def _opened(model: SDMAE | str | Path, how: str | None) -> tuple[SDMAE, Normalisation]:
    """Return the loaded model and what it predicts."""
    if not isinstance(model, SDMAE):
        how = how or model_info(model).target_normalisation
        model = load_model(model)
    if how not in get_args(Normalisation):
        raise ValueError(f"target normalisation {how!r}: give the one the model was trained with, of {get_args(Normalisation)}")
    return model, cast(Normalisation, how)


def _reconstructed(model: SDMAE, tiles: RGB, mask: NDArray[np.bool_], how: Normalisation) -> list[NDArray[Any]]:
    """Return masked, reconstruction and error of `tiles` (N, S, S, 3), a batch at a time so that memory stays bounded."""
    device = next(model.parameters()).device
    step = max(1, BATCH_PIXELS // tiles.shape[1] ** 2)
    masked = int(mask[0].sum())  # of every tile alike; asked of the mask on a GPU, each batch would wait for the answer
    batches = []
    for start in range(0, len(tiles), step):
        some = slice(start, start + step)
        pixels, hidden = (torch.from_numpy(values[some]).to(device) for values in (tiles, mask))
        result = reconstruct_tiles(model, pixels, hidden, how, masked)
        batches.append([part.cpu().numpy() for part in result])
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _joined(tiles: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Return tiles (rows · columns, S, S, …), row by row, as one picture (rows · S, columns · S, …)."""
    size, rest = tiles.shape[1], tiles.shape[3:]
    return tiles.reshape(rows, columns, size, size, *rest).swapaxes(1, 2).reshape(rows * size, columns * size, *rest)
