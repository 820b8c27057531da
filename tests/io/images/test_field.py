"""Fields of any size and kind, made fit for a model."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sdmae.io.images.field import (
    MAX_TOKENS,
    Grid,
    InvalidFieldError,
    as_rgb,
    fit_to_patches,
    fitting_downsample,
    pad_to_multiple,
)
from napari_sdmae.io.images.pictures import ArrayPicture, Part, fit_picture, read_field


def test_grey_and_transparent_images_become_rgb(tissue_tile: NDArray[np.uint8]) -> None:
    grey = tissue_tile[..., 0]
    np.testing.assert_array_equal(as_rgb(grey), np.stack([grey] * 3, -1))
    np.testing.assert_array_equal(as_rgb(grey[..., None]), np.stack([grey] * 3, -1))
    assert as_rgb(tissue_tile) is tissue_tile
    alpha = np.zeros_like(grey)
    alpha[:, 50:] = 255
    flat = as_rgb(np.dstack([tissue_tile, alpha]))
    assert (flat[:, :50] == 255).all()
    np.testing.assert_array_equal(flat[:, 50:], tissue_tile[:, 50:])


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)])
def test_other_arrays_are_refused(wrong: NDArray[np.generic]) -> None:
    with pytest.raises(InvalidFieldError, match="expected uint8 of shape"):
        as_rgb(wrong)


def test_padding_mirrors_the_lower_and_right_end(tissue_tile: NDArray[np.uint8]) -> None:
    padded = pad_to_multiple(tissue_tile[:30, :40], 16)
    assert padded.shape == (32, 48, 3)
    np.testing.assert_array_equal(padded[30:32, :40], tissue_tile[28:26:-1, :40])
    np.testing.assert_array_equal(padded[:30, 40:48], tissue_tile[:30, 38:30:-1])


def test_downsampling_is_the_mean_over_squares(tissue_tile: NDArray[np.uint8]) -> None:
    picture, grid = fit_to_patches(tissue_tile[:96, :64], 16, downsample=2)
    assert (picture.shape, grid) == ((48, 32, 3), Grid(3, 2, 32))
    for row, column in ((0, 0), (20, 31), (47, 5)):
        square = tissue_tile[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(4, 3)
        np.testing.assert_allclose(picture[row, column], square.mean(0), atol=0.5)


@pytest.mark.parametrize("shape", [(512, 512), (1024, 1024), (1025, 1024), (4000, 300), (9000, 7000)])
def test_the_smallest_downsampling_that_fits(shape: tuple[int, int]) -> None:
    def tokens(factor: int) -> int:
        return -(-shape[0] // (16 * factor)) * -(-shape[1] // (16 * factor))

    factor = fitting_downsample(shape, 16)
    assert tokens(factor) <= MAX_TOKENS
    assert factor == 1 or tokens(factor - 1) > MAX_TOKENS


@pytest.mark.parametrize(
    ("position", "cell"),
    [((0, 0), (0, 0)), ((15.4, 15.6), (0, 1)), ((-3, 500), (0, 3)), ((31.5, 48), (2, 3)), ((47.4, 20), (2, 1))],
)
def test_positions_are_those_of_pixel_centres(position: tuple[float, float], cell: tuple[int, int]) -> None:
    """Pixel 15 reaches to 15.5; the centre of a cell is half a pixel before its half."""
    grid = Grid(3, 4, 16)
    assert grid.nearest(position) == cell
    assert grid.centre((0, 0)) == (7.5, 7.5)
    assert grid.nearest(grid.centre(cell)) == cell


def test_regions(tissue_tile: NDArray[np.uint8]) -> None:
    picture = ArrayPicture(tissue_tile)
    np.testing.assert_array_equal(Part(picture, (3, 4, 5, 6)).read(0, 0, 5, 6), tissue_tile[3:8, 4:10])
    for region in ((-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 5, 10_000), (250, 0, 100, 5)):
        with pytest.raises(InvalidFieldError, match="not inside the image"):
            Part(picture, region)


@pytest.mark.parametrize("size", [(256, 200), (250, 256), (97, 130), (33, 250), (64, 64)])
@pytest.mark.parametrize("downsample", [1, 2])
def test_a_picture_in_parts_is_fitted_as_the_whole(tissue_tile: np.ndarray, size: tuple[int, int], downsample: int) -> None:
    field = tissue_tile[: size[0], : size[1]]
    expected, grid = fit_to_patches(field, 16, downsample)
    found, same = fit_picture(ArrayPicture(field), 16, downsample)
    np.testing.assert_array_equal(found, expected)
    assert same == grid


def test_too_many_patches_are_refused_before_anything_is_read() -> None:
    class Unread(ArrayPicture):
        height, width = 20_000, 30_000

        def read(self, row: int, column: int, height: int, width: int) -> np.ndarray:
            pytest.fail("read")

    picture = Unread(np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(InvalidFieldError, match="more than 4096"):
        fit_picture(picture, 16, 1)
    with pytest.raises(InvalidFieldError, match="choose a region"):
        read_field(picture)
