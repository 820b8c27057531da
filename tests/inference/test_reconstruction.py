"""Masked reconstruction of whole fields."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_sdmae.inference import reconstruct
from napari_sdmae.inference import reconstruction as module
from napari_sdmae.io.checkpoints.load import load_model
from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.models import num_masked, reconstruct_tiles

PATCH, TILE = 16, 64


@pytest.mark.parametrize("size", [(64, 64), (100, 150), (16, 16), (17, 200), (300, 20)])
def test_any_size_comes_back_as_it_was(model_folder: Path, tissue_tile: NDArray[np.uint8], size: tuple[int, int]) -> None:
    field = np.tile(tissue_tile, (2, 1, 1))[: size[0], : size[1]]
    result = reconstruct(model_folder, field, mask_ratio=0.5)
    assert result.masked.shape == result.reconstruction.shape == field.shape
    assert result.error.shape == result.mask.shape == size
    visible = ~result.mask
    np.testing.assert_array_equal(result.reconstruction[visible], field[visible])
    np.testing.assert_array_equal(result.masked[visible], field[visible])
    assert not result.error[visible].any()
    assert np.unique(result.masked[result.mask]).size == min(1, result.mask.sum())


def test_one_tile_is_what_the_model_says(model_folder: Path, tissue_tile: NDArray[np.uint8]) -> None:
    field = tissue_tile[:TILE, :TILE]
    result = reconstruct(model_folder, field, seed=3)
    patches = result.mask[::PATCH, ::PATCH]
    assert patches.sum() == num_masked(0.6, 16)
    mask = torch.from_numpy(patches.reshape(1, -1).copy())
    expected = reconstruct_tiles(load_model(model_folder), torch.from_numpy(field[None].copy()), mask, "patch_channel")
    np.testing.assert_array_equal(result.reconstruction, expected.reconstruction[0].numpy())
    np.testing.assert_allclose(result.error, expected.error[0].numpy())


def test_every_tile_hides_its_share_and_lies_in_its_place(model_folder: Path, tissue_tile: NDArray[np.uint8]) -> None:
    """Tiles of a larger field: the left upper one is reconstructed as it is alone, as its mask is the same."""
    field = tissue_tile[: 2 * TILE, : 3 * TILE]
    whole, alone = reconstruct(model_folder, field, seed=1), reconstruct(model_folder, field[:TILE, :TILE], seed=1)
    shares = whole.mask.reshape(2, TILE, 3, TILE).mean((1, 3))
    np.testing.assert_allclose(shares, num_masked(0.6, 16) / 16)
    assert len({whole.mask[r : r + TILE, c : c + TILE].tobytes() for r in (0, TILE) for c in (0, TILE, 2 * TILE)}) == 6
    np.testing.assert_array_equal(whole.mask[:TILE, :TILE], alone.mask)
    difference = whole.reconstruction[:TILE, :TILE].astype(int) - alone.reconstruction
    assert np.abs(difference).max() <= 1


def test_the_true_mean_of_each_patch_is_put_back(model_folder: Path, tissue_tile: NDArray[np.uint8]) -> None:
    """A model that predicts the mean everywhere shows each patch in its own mean colour."""
    model = load_model(model_folder)
    torch.nn.init.zeros_(model.decoder.head.weight)
    torch.nn.init.zeros_(model.decoder.head.bias)
    field = tissue_tile[:TILE, :TILE]
    result = reconstruct(model, field, target_normalisation="patch_channel")
    means = field.reshape(4, PATCH, 4, PATCH, 3).mean((1, 3)).repeat(PATCH, 0).repeat(PATCH, 1)
    assert np.abs(result.reconstruction - means)[result.mask].max() <= 0.51
    assert result.mean_error == pytest.approx(np.abs(field - means)[result.mask].mean() / 255, abs=1e-4)


def test_seed_decides(model_folder: Path, tissue_tile: NDArray[np.uint8]) -> None:
    first, again, other = (reconstruct(model_folder, tissue_tile, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.reconstruction, again.reconstruction)
    assert (first.mask != other.mask).any()


def test_batches_change_nothing(model_folder: Path, tissue_tile: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    field = tissue_tile[:200, :200]
    whole = reconstruct(model_folder, field)
    monkeypatch.setattr(module, "BATCH_PIXELS", 3 * TILE**2)
    parts = reconstruct(model_folder, field)
    np.testing.assert_array_equal(whole.mask, parts.mask)
    assert np.abs(whole.reconstruction.astype(int) - parts.reconstruction).max() <= 1


def test_target_comes_from_the_folder(model_folder: Path, tissue_tile: NDArray[np.uint8]) -> None:
    model, field = load_model(model_folder), tissue_tile[:TILE, :TILE]
    by_folder, right, wrong = (
        reconstruct(model_folder, field),
        reconstruct(model, field, target_normalisation="patch_channel"),
        reconstruct(model, field, target_normalisation="none"),
    )
    np.testing.assert_array_equal(by_folder.reconstruction, right.reconstruction)
    assert (by_folder.reconstruction != wrong.reconstruction).any()
    with pytest.raises(ValueError, match="give the one the model was trained with"):
        reconstruct(model, field)


def test_what_cannot_be_done_is_said(model_folder: Path) -> None:
    with pytest.raises(InvalidFieldError, match="less than one patch of 16 px"):
        reconstruct(model_folder, np.zeros((15, 100, 3), np.uint8))
    with pytest.raises(ValueError, match="at least one must be masked"):
        reconstruct(model_folder, np.zeros((64, 64, 3), np.uint8), mask_ratio=0.01)
