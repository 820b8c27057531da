"""Patches and the pixel target, against loops over pixels."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_sdmae.models.patches import (
    Normalisation,
    gather_tokens,
    normalise_patches,
    patchify,
    restore_patches,
    split_mask,
    standardise,
    unpatchify,
)

IMAGES = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))


def plain_patches(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Index (row * P + column) * 3 + channel inside a patch, patches row by row."""
    batch, _, height, width = images.shape
    columns = width // size
    result = np.zeros((batch, height // size * columns, size * size * 3), np.float32)
    for image, channel, row, column in np.ndindex(images.shape):
        patch = row // size * columns + column // size
        result[image, patch, (row % size * size + column % size) * 3 + channel] = images[image, channel, row, column]
    return result


def test_patchify_orders_pixels_row_by_row_with_the_channel_fastest() -> None:
    np.testing.assert_array_equal(patchify(IMAGES, 4), plain_patches(IMAGES.numpy(), 4))


def test_unpatchify_is_the_inverse() -> None:
    assert torch.equal(unpatchify(patchify(IMAGES, 4), 4, (3, 5)), IMAGES)


def test_an_image_that_cannot_be_cut_is_refused_with_its_size() -> None:
    with pytest.raises(ValueError, match="12 x 20 px cannot be cut into 8 px patches"):
        patchify(IMAGES, 8)


@pytest.mark.parametrize("how", ["patch_channel", "patch", "none"])
def test_target_against_loops(how: Normalisation) -> None:
    patches = patchify(IMAGES, 4)
    expected = patches.numpy().astype(np.float64).copy()
    for patch in expected.reshape(-1, 48):
        pixels = patch.reshape(16, 3)  # a view: written in place
        if how == "patch_channel":
            pixels[:] = (pixels - pixels.mean(0)) / (pixels.std(0, ddof=1) + 1e-6)
        if how == "patch":
            pixels[:] = (pixels - pixels.mean()) / np.sqrt(pixels.var(ddof=1) + 1e-6)
    np.testing.assert_allclose(normalise_patches(patches, how), expected, atol=1e-5)


@pytest.mark.parametrize("how", ["patch_channel", "patch", "none"])
def test_restoring_undoes_the_target(how: Normalisation) -> None:
    patches = patchify(IMAGES, 4)
    torch.testing.assert_close(restore_patches(normalise_patches(patches, how), patches, how), patches, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("how", ["patch_channel", "patch"])
def test_a_flat_patch_of_glass_gives_a_finite_target(how: Normalisation) -> None:
    target = normalise_patches(torch.full((1, 1, 48), 0.95), how)
    assert target.abs().max() < 1


def test_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match="expected patch_channel, patch or none"):
        normalise_patches(torch.rand(1, 1, 12), "channel")  # type: ignore[arg-type]


def test_split_mask_lists_visible_and_masked_patches_in_raster_order() -> None:
    mask = torch.rand(5, 30, generator=torch.Generator().manual_seed(1)).argsort(1) < 18
    visible, masked = split_mask(mask, 18)
    for row in range(5):
        assert visible[row].tolist() == [index for index in range(30) if not mask[row, index]]
        assert masked[row].tolist() == [index for index in range(30) if mask[row, index]]


def test_gathered_tokens_are_the_indexed_ones() -> None:
    tokens, index = torch.rand(2, 6, 4), torch.tensor([[5, 0], [2, 2]])
    expected = torch.stack([tokens[0, [5, 0]], tokens[1, [2, 2]]])
    assert torch.equal(gather_tokens(tokens, index), expected)


def test_standardise_takes_bytes_and_fractions_in_either_layout() -> None:
    pixels = torch.randint(0, 256, (2, 12, 20, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    expected = (pixels.numpy() / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    for images in (pixels, pixels.movedim(-1, 1), pixels / 255, pixels.movedim(-1, 1) / 255):
        np.testing.assert_allclose(standardise(images, mean, std), expected.transpose(0, 3, 1, 2), atol=1e-5)
