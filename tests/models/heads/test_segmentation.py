"""Decoders of segmentation and instances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_case import tissue_crops
from skimage.color import rgb2hed
from skimage.filters import gaussian
from tiny_heads import noise, tiny_head
from torch import nn

from napari_sdmae.losses.heads import HeadLoss
from napari_sdmae.models.heads.head_model import HeadModel

DECODERS = ["linear", "unet", "upernet", "dpt"]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("patch", [8, 14, 16])
@pytest.mark.parametrize("grid", [(4, 4), (5, 3), (1, 2)])
def test_every_pixel_gets_a_value_for_any_patch_and_size(decoder: str, patch: int, grid: tuple[int, int]) -> None:
    model = tiny_head("segmentation", head={"decoder": decoder}, encoder={"patch_size": patch, "tile_size": 4 * patch})
    images = noise(model, 1, *grid)
    output = model(images)
    assert output.logits.shape == (1, 3, *images.shape[2:])
    assert output.auxiliary is None
    trained = model.train()(images)
    assert (trained.auxiliary is None) == (decoder in ("linear", "unet"))
    if trained.auxiliary is not None:
        assert trained.auxiliary.shape == output.logits.shape


@pytest.mark.parametrize("decoder", [one for one in DECODERS if one != "unet"])
def test_a_batch_is_the_sum_of_its_tiles(decoder: str) -> None:
    """No BatchNorm: training tile by tile, as with small micro-batches, is training on the batch. unet gives that up."""
    model = tiny_head("segmentation", head={"decoder": decoder}, encoder={"drop_path": 0}).train()
    assert not [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    images = noise(model, 3)
    together = model(images).logits
    alone = torch.cat([model(one[None]).logits for one in images])
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_values_are_in_their_place(decoder: str) -> None:
    """What changes in one corner of the picture changes the answer there most."""
    model = tiny_head("segmentation", head={"decoder": decoder})
    images = noise(model, 1, 6, 6)
    changed = images.clone()
    changed[..., :16, 80:] += 2
    moved = (model(changed).logits - model(images).logits).abs().sum(1)[0]
    assert moved[:16, 80:].mean() > 1.5 * moved[48:, :48].mean()


@pytest.mark.parametrize("decoder", DECODERS)
def test_it_learns_the_nuclei_of_real_tissue(decoder: str, tissue: Path) -> None:
    model = tiny_head("segmentation", 2, head={"decoder": decoder, "auxiliary": 0.4}, encoder={"patch_size": 8, "drop_path": 0})
    tiles = tissue_crops(tissue, 64, 2)
    stain = np.stack([gaussian(rgb2hed(tile)[..., 0], 3) for tile in tiles])
    nuclei = torch.from_numpy(stain > np.quantile(stain, 0.7)).long()
    agreement = _trained(model, torch.from_numpy(tiles), nuclei, 40)
    assert agreement > 0.85


def _trained(model: HeadModel, tiles: torch.Tensor, wanted: torch.Tensor, steps: int) -> float:
    """Return the balanced accuracy after some steps."""
    model.train()
    loss, optimizer = HeadLoss(model.spec, None, 0.0), torch.optim.AdamW(model.parameters(), lr=2e-3)
    images = model.normalise(tiles)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(images), wanted).total.backward()
        optimizer.step()
    found = model.eval()(images).logits.argmax(1)
    return float(np.mean([(found[wanted == value] == value).float().mean() for value in (0, 1)]))


def test_the_auxiliary_head_reads_the_third_block_and_can_be_off() -> None:
    assert tiny_head("segmentation", head={"auxiliary": 0}).head.auxiliary is None
    model = tiny_head("segmentation", encoder={"drop_path": 0}).train()
    auxiliary = model(noise(model)).auxiliary
    assert auxiliary is not None
    auxiliary.sum().backward()
    reached = [
        any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in block.parameters())
        for block in model.encoder.blocks
    ]
    assert reached == [True, True, True, False]


def test_types_of_instances_are_there_when_there_is_a_choice() -> None:
    typed = tiny_head("instances", 3)
    output = typed(noise(typed, 2))
    assert output.foreground.shape == output.separation.shape == (2, 1, 64, 64)
    assert output.types is not None
    assert output.types.shape == (2, 3, 64, 64)
    single = tiny_head("instances", 1)
    assert single(noise(single)).types is None


def test_pictures_of_broken_patches_are_refused() -> None:
    model = tiny_head("segmentation")
    with pytest.raises(ValueError, match="64 x 72 px are not made of whole patches of 16 px"):
        model(torch.zeros(1, 3, 64, 72))
