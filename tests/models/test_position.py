"""Position codes, channel by channel, and their interpolation."""

import math

import pytest
import torch

from napari_sdmae.models.position import resize_code, sincos1d, sincos2d


@pytest.mark.parametrize("width", [8, 9, 24])
def test_sincos1d_is_the_papers_formula_over_the_raster_index(width: int) -> None:
    code = sincos1d((3, 4), width)
    assert code.shape == (12, width)
    for index in range(12):
        for channel in range(width):
            angle = index / 10000 ** (2 * (channel // 2) / width)
            assert code[index, channel].item() == pytest.approx(math.cos(angle) if channel % 2 else math.sin(angle), abs=1e-6)


def test_sincos2d_codes_columns_then_rows() -> None:
    code = sincos2d((3, 5), 16)
    for row in range(3):
        for column in range(5):
            token = code[row * 5 + column]
            for channel in range(4):
                across, down = (place * 10000 ** (-channel / 4) for place in (column, row))
                expected = [math.sin(across), math.cos(across), math.sin(down), math.cos(down)]
                assert token[channel::4].tolist() == pytest.approx(expected, abs=1e-6)


def test_sincos2d_needs_a_width_divisible_by_four() -> None:
    with pytest.raises(ValueError, match="divisible by 4, got 18"):
        sincos2d((2, 2), 18)


def test_a_code_for_its_own_grid_is_not_touched() -> None:
    code = sincos2d((4, 4), 16)[None]
    assert resize_code(code, (4, 4), (4, 4)) is code


def test_resizing_keeps_places_and_prefix() -> None:
    """A code that says its own row and column still does at twice the density: half a patch in from the edge, at half steps."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    code = torch.cat([torch.tensor([[7.0, 9.0]]), torch.stack([rows, columns], -1).flatten(0, 1)])[None]
    resized = resize_code(code, (8, 8), (16, 8), prefix=1)[0]
    assert resized[0].tolist() == [7.0, 9.0]
    grid = resized[1:].unflatten(0, (16, 8))
    torch.testing.assert_close(grid[4:12, 3, 0], torch.arange(4, 12) / 2 - 0.25, atol=0.02, rtol=0)
    torch.testing.assert_close(grid[5, :, 1], torch.arange(8.0), atol=1e-5, rtol=0)


def test_a_grid_of_as_many_patches_but_another_shape_is_resized() -> None:
    code = sincos2d((4, 4), 16)[None]
    assert resize_code(code, (4, 4), (2, 8)).shape == code.shape
    assert not torch.allclose(resize_code(code, (4, 4), (2, 8)), code)
