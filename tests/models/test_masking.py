"""How many patches are hidden, and which."""

import numpy as np
import pytest
import torch

from napari_sdmae.models.masking import num_masked, num_masked_in, random_mask
from napari_sdmae.rng import MASK, uniforms


@pytest.mark.parametrize(
    ("ratio", "patches", "expected"),
    [(0.6, 196, 117), (0.29, 100, 29), (0.57, 100, 57), (0.75, 196, 147), (0.6, 5, 3), (1 / 3, 9, 2), (0.999, 144, 143)],
)
def test_count_is_the_exact_floor(ratio: float, patches: int, expected: int) -> None:
    assert num_masked(ratio, patches) == expected


@pytest.mark.parametrize(("ratio", "patches"), [(0.01, 16), (1.0, 16), (0.0, 16)])
def test_nothing_masked_or_nothing_visible_is_refused(ratio: float, patches: int) -> None:
    with pytest.raises(ValueError, match="at least one must be masked and one visible"):
        num_masked(ratio, patches)


def test_each_row_hides_the_same_number_and_each_patch_equally_often() -> None:
    mask = random_mask(uniforms(0, 0, np.arange(4000), 49, MASK), 0.6)
    assert mask.dtype == bool
    assert (mask.sum(1) == 29).all()
    # the share of rows that hide a patch has a standard deviation of 0.0078: 5 of them
    assert np.abs(mask.mean(0) - 29 / 49).max() < 0.04


def test_masks_have_no_block_structure() -> None:
    mask = random_mask(uniforms(0, 0, np.arange(4000), 49, MASK), 0.6)
    pairs = (mask[:, :-1] & mask[:, 1:]).mean()
    assert pairs == pytest.approx(29 / 49 * 28 / 48, abs=0.01)


def test_rows_that_hide_different_numbers_are_refused() -> None:
    mask = torch.tensor([[True, False, False], [True, True, False]])
    with pytest.raises(ValueError, match="same number of masked patches, got 1 to 2"):
        num_masked_in(mask)
