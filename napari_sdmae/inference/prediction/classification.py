"""A class for each tile of a picture, or for the whole of a small one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sdmae.inference.prediction.rescale import RescaledPicture
from napari_sdmae.inference.prediction.result import PredictionOptions
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.typing import RGB, Floats

WHOLE = 2
"""A picture of less than so many tiles on both sides gets one class, by the tile in its middle, as in training."""


def is_one_tile(model: HeadModel, seen: RescaledPicture) -> bool:
    """Return whether the picture gets one class."""
    return max(seen.rows, seen.columns) < WHOLE * model.spec.tile_size


def classified(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions) -> Floats:
    """Return the class probabilities of each tile, (C, tile rows, tile columns).

    Tiles lie side by side from the upper left corner; what is missing at the right and the bottom is reflected. A small picture
    has one, in its middle.
    """
    edge = model.spec.tile_size
    if is_one_tile(model, seen):
        return tile_probabilities(model, middle_tile(seen, edge)[None], asked).T[:, :, None]
    rows = range(0, seen.rows, edge)
    found = []
    for number, top in enumerate(rows):
        band = seen.read(top, 0, min(edge, seen.rows - top), seen.columns)
        missing = edge - len(band), -band.shape[1] % edge
        band = np.pad(band, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
        tiles = band.reshape(edge, -1, edge, 3).swapaxes(0, 1)
        found.append(tile_probabilities(model, tiles, asked))
        asked.done(number + 1, len(rows))
    return np.stack(found, 1).transpose(2, 1, 0)


def of_wholes(model: HeadModel, pictures: Sequence[RescaledPicture], asked: PredictionOptions) -> Floats:
    """Return the class probabilities of whole pictures, (N, C): of each the mean over the tiles of :func:`classified`.

    Small pictures, of one tile each, are seen together: labelled tiles come by the thousand.
    """
    found = np.empty((len(pictures), len(model.spec.classes)), np.float32)
    small = [number for number, seen in enumerate(pictures) if is_one_tile(model, seen)]
    if small:
        tiles = np.stack([middle_tile(pictures[number], model.spec.tile_size) for number in small])
        found[small] = tile_probabilities(model, tiles, asked)
    for number in sorted(set(range(len(pictures))) - set(small)):
        found[number] = classified(model, pictures[number], asked).mean((1, 2))
    return found


def middle_tile(seen: RescaledPicture, edge: int) -> RGB:
    """Return the tile in the middle of a small picture, reflected where it is too small, as heads are trained."""
    top, left = max(seen.rows - edge, 0) // 2, max(seen.columns - edge, 0) // 2
    tile = seen.read(top, left, min(edge, seen.rows), min(edge, seen.columns))
    return np.pad(tile, ((0, edge - tile.shape[0]), (0, edge - tile.shape[1]), (0, 0)), mode="symmetric")


@torch.inference_mode()
def tile_probabilities(model: HeadModel, tiles: NDArray[np.uint8], asked: PredictionOptions) -> Floats:
    """Return the class probabilities of tiles (N, S, S, 3), (N, C)."""
    found = []
    for start in range(0, len(tiles), asked.batch):
        some = torch.from_numpy(np.ascontiguousarray(tiles[start : start + asked.batch])).to(model.mean.device)
        with asked.context():
            logits = model(model.normalise(some))
        found.append((logits.float() / model.spec.temperature).softmax(1).cpu().numpy())
    return np.concatenate(found)
