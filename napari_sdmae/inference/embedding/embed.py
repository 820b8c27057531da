"""Features of the tiles of pictures: what the encoder of any model says about each, for tables, clustering and retrieval."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sdmae.data.tiles.grid import tissue_fraction
from napari_sdmae.inference.prediction.rescale import RescaledPicture, rescale
from napari_sdmae.io.checkpoints.load import Encoder
from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.io.images.pictures import Picture
from napari_sdmae.typing import Floats

Pool = Literal["mean", "tokens"]


@dataclass(frozen=True)
class Tiling:
    """Which tiles are taken.

    Attributes
    ----------
    tile
        Edge in px of the model, a multiple of its patch; None: the tile size of the model.
    stride
        Distance between tiles in px of the model; None: they lie side by side.
    min_tissue
        Tiles with a smaller fraction of tissue are left out, in [0, 1]; 0 takes all.
    """

    tile: int | None = None
    stride: int | None = None
    min_tissue: float = 0.0

    def fitted(self, encoder: Encoder) -> tuple[int, int]:
        """Return tile and stride in px.

        Raises
        ------
        ValueError
            If they do not fit the encoder.
        """
        tile = encoder.tile_size if self.tile is None else self.tile
        stride = tile if self.stride is None else self.stride
        if tile < 1 or tile % encoder.patch_size:
            raise ValueError(f"tile {tile} px: expected a multiple of the model's patch of {encoder.patch_size} px")
        if stride < 1:
            raise ValueError(f"stride {stride} px: expected 1 or more")
        return tile, stride


@dataclass(frozen=True, eq=False)
class Embedded:
    """Features of some tiles.

    Attributes
    ----------
    features
        float32 (N, D); of all tokens (N, L, D), L patches row by row.
    rows, columns
        (N,) upper left corner in px of the source at full resolution.
    size
        Edge of the tiles in px of the source.
    notes
        What must be known of the scale at which the model sees the picture; of each row of tiles the same.
    """

    features: Floats
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    size: float
    notes: tuple[str, ...] = ()


def embed(
    encoder: Encoder,
    picture: Picture,
    *,
    tiling: Tiling | None = None,
    pool: Pool = "mean",
    batch: int = 16,
    autocast: AbstractContextManager[Any] | None = None,
) -> Iterator[Embedded]:
    """Yield the features of the tiles of a picture, a row of tiles at a time: memory does not grow with the picture.

    Parameters
    ----------
    encoder
        From :func:`napari_sdmae.io.checkpoints.load.load_encoder`: of a run, a head or a timm folder.
    picture
        Brought to the scale of the model where both scales are known.
    tiling
        Which tiles; the last of each row and column is moved back to end with the picture.
    pool
        mean: the mean of the patch tokens after the final norm; tokens: all of them.
    batch
        Tiles per forward pass.
    autocast
        Context of the forward passes that can be entered again and again; None: fp32.

    Raises
    ------
    InvalidFieldError
        If the picture is smaller than a tile.
    ValueError
        If the tiling does not fit the encoder.
    """
    tiling = tiling or Tiling()
    tile, stride = tiling.fitted(encoder)
    seen, notes = rescale(picture, encoder.mpp, encoder.patch_size)
    if min(seen.rows, seen.columns) < tile:
        raise InvalidFieldError(
            f"the picture is {seen.rows} x {seen.columns} px at the model's scale, less than one tile of {tile} px; "
            "choose a smaller tile"
        )
    lefts = _starts(seen.columns, tile, stride)
    for top in _starts(seen.rows, tile, stride):
        tiles, kept = _row(seen, top, lefts, tile, tiling.min_tissue)
        if len(kept):
            features = _features(encoder, tiles, pool, batch, autocast or nullcontext())
            yield Embedded(features, *_corners(seen, top, kept), size=tile / float(np.mean(seen.factor)), notes=tuple(notes))


def _starts(length: int, tile: int, stride: int) -> NDArray[np.int64]:
    """Return where tiles start along a side; the last one ends with it."""
    regular = np.arange(0, length - tile + 1, stride)
    return regular if regular[-1] == length - tile else np.append(regular, length - tile)


def _row(
    seen: RescaledPicture, top: int, lefts: NDArray[np.int64], tile: int, min_tissue: float
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the tiles of a row that show enough tissue, (n, tile, tile, 3), and where they start."""
    band = seen.read(int(top), 0, tile, seen.columns)
    tiles = np.stack([band[:, left : left + tile] for left in lefts])
    kept = tissue_fraction(tiles) >= min_tissue
    return tiles[kept], lefts[kept]


def _corners(seen: RescaledPicture, top: int, lefts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of tiles in px of the source."""
    row, column = seen.picture.corner
    down = np.full(len(lefts), row + round(top / seen.factor[0]), np.int64)
    return down, column + np.rint(lefts / seen.factor[1]).astype(np.int64)


@torch.inference_mode()
def _features(
    encoder: Encoder, tiles: NDArray[np.uint8], pool: Pool, batch: int, autocast: AbstractContextManager[Any]
) -> Floats:
    """Return the features of tiles (n, S, S, 3): (n, D), or (n, L, D)."""
    vit = encoder.vit
    device = next(vit.parameters()).device
    found = []
    for start in range(0, len(tiles), batch):
        images = encoder.normalise(torch.from_numpy(tiles[start : start + batch]).to(device))
        with autocast:
            tokens = vit.forward_features(images)[:, vit.num_prefix_tokens :]
            values = vit.fc_norm(tokens.mean(1)) if pool == "mean" else tokens
        found.append(values.float().cpu().numpy())
    return np.concatenate(found)
