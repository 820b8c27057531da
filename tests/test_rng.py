"""Random numbers that depend on (seed, epoch, index, stream) only."""

import numpy as np
import pytest

from napari_sdmae.rng import CROP, FLIP, MASK, ORDER, STAIN, permutation, uniforms


def test_numbers_do_not_depend_on_the_batch_they_are_drawn_in() -> None:
    together = uniforms(3, 2, np.arange(100), 7, MASK)
    alone = np.concatenate([uniforms(3, 2, np.array([index]), 7, MASK) for index in range(100)])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together[:, :4], uniforms(3, 2, np.arange(100), 4, MASK))


def test_seed_epoch_index_and_stream_all_matter() -> None:
    draws = [uniforms(seed, epoch, np.array([index]), 4, stream)[0] for seed in (0, 1) for epoch in (0, 1) for index in (0, 1)
             for stream in (MASK, CROP, FLIP, STAIN, ORDER)]  # fmt: skip
    assert len({tuple(draw) for draw in draws}) == len(draws) == 40


def test_numbers_are_uniform_and_neighbours_unrelated() -> None:
    drawn = uniforms(0, 0, np.arange(2000), 50, CROP)
    assert drawn.dtype == np.float64
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, 100, (0, 1))[0]
    chi2 = ((counts - 1000) ** 2 / 1000).sum()
    assert 55 < chi2 < 155  # 99 degrees of freedom: beyond 4 standard deviations only by a fault
    for left, right in ((drawn[:, :-1], drawn[:, 1:]), (drawn[:-1], drawn[1:])):
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.015


def test_permutation_visits_each_sample_once_in_an_order_of_its_own_per_epoch() -> None:
    orders = [permutation(5, epoch, 1000) for epoch in range(3)]
    for order in orders:
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert np.mean(orders[0] == orders[1]) < 0.01
    np.testing.assert_array_equal(orders[2], permutation(5, 2, 1000))


@pytest.mark.parametrize("n", [0, 1])
def test_permutation_of_almost_nothing(n: int) -> None:
    assert permutation(0, 0, n).tolist() == list(range(n))


def test_the_numbers_of_a_seed_stay_the_same_in_every_version() -> None:
    """A run resumed with a newer version must go on with the same masks: these are not to change."""
    assert permutation(0, 0, 8).tolist() == [5, 1, 4, 7, 6, 2, 0, 3]
    np.testing.assert_array_equal(uniforms(1, 2, np.array([3]), 2, MASK), [[0.06987421196597521, 0.15873098700343247]])


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64])
def test_seeds_out_of_bounds_are_refused(seed):
    with pytest.raises(ValueError, match=f"seed {seed}: expected"):
        permutation(seed, 0, 4)
