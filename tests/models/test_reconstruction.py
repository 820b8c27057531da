"""Pictures of a reconstruction."""

from pathlib import Path

import pytest
import torch
from reference_case import tissue_crops

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.models import SDMAE, reconstruct_tiles
from napari_sdmae.models.patches import Normalisation, normalise_patches, patchify, split_mask


@pytest.fixture(scope="module")
def model() -> SDMAE:
    torch.manual_seed(0)
    return SDMAE(
        ModelConfig(encoder="vit_tiny_patch16_224", tile_size=64, encoder_depth=1, decoder_depth=1, head_hidden=16)
    ).eval()


@pytest.mark.parametrize("how", ["patch_channel", "patch", "none"])
def test_a_perfect_prediction_gives_the_tile_back(
    model: SDMAE, how: Normalisation, tissue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the model's answer replaced by the true target, statistics put back give the input and no error."""
    tiles, mask = torch.from_numpy(tissue_crops(tissue, 64, 2)), torch.rand(2, 16).argsort(1) < 10
    target = normalise_patches(patchify(tiles.movedim(-1, 1) / 255, 16), how)
    answer = target.gather(1, split_mask(mask, 10)[1][:, :, None].expand(-1, -1, 768))
    monkeypatch.setattr(model.decoder.head, "forward", lambda tokens: answer)
    result = reconstruct_tiles(model, tiles, mask, how)
    assert (result.reconstruction.int() - tiles.int()).abs().max() <= 1
    assert result.error.max() < 1e-4


def test_visible_patches_stay_and_the_error_is_that_of_the_picture(model: SDMAE, tissue: Path) -> None:
    tiles, mask = torch.from_numpy(tissue_crops(tissue, 64, 2)), torch.rand(2, 16).argsort(1) < 10
    result = reconstruct_tiles(model, tiles, mask, "patch", masked=10)
    hidden = mask.view(2, 4, 4).repeat_interleave(16, 1).repeat_interleave(16, 2)
    assert result.masked.dtype == result.reconstruction.dtype == torch.uint8
    assert torch.equal(result.masked[~hidden], tiles[~hidden])
    assert torch.equal(result.reconstruction[~hidden], tiles[~hidden])
    assert (result.masked[hidden] == 128).all()
    assert not result.error[~hidden].any()
    difference = (result.reconstruction.float() - tiles.float()).abs().mean(-1) / 255
    torch.testing.assert_close(result.error, difference, atol=1 / 255, rtol=0)
    assert result.error[hidden].mean() > 0.01


def test_a_field_larger_than_the_tile_is_reconstructed_too(model: SDMAE, tissue: Path) -> None:
    tiles = torch.from_numpy(tissue_crops(tissue, 96, 1))[:, :80]
    result = reconstruct_tiles(model, tiles, torch.rand(1, 30).argsort(1) < 18, "patch")
    assert result.reconstruction.shape == (1, 80, 96, 3)
    assert result.error.shape == (1, 80, 96)
