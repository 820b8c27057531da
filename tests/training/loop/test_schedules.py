import itertools

import numpy as np
import pytest

from napari_sdmae.training.loop.schedules import Schedule


def schedule(**changes: object) -> Schedule:
    settings = {"tiles": 103, "batch": 10, "epochs": 5, "peak_lr": 2.0, "min_lr": 0.1, "warmup_epochs": 1.0, "seed": 3}
    return Schedule(**(settings | changes))


def test_every_epoch_visits_tiles_once_in_an_order_of_its_own():
    plan = schedule()
    assert (plan.steps_per_epoch, plan.total_steps) == (10, 50)
    epochs = [np.concatenate([plan.indices(step) for step in range(start, start + 10)]) for start in (0, 10)]
    for visited in epochs:
        assert len(set(visited.tolist())) == 100
    assert not np.array_equal(*epochs)


def test_the_order_depends_on_seed_and_step_only():
    np.testing.assert_array_equal(schedule().indices(17), schedule(epochs=9, peak_lr=1.0).indices(17))
    assert not np.array_equal(schedule().indices(17), schedule(seed=4).indices(17))


def test_learning_rate_warms_up_linearly_and_ends_at_the_minimum():
    plan = schedule()
    rates = [plan.learning_rate(step) for step in range(plan.total_steps)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(rates[9:]))
    assert rates[29] == pytest.approx((2.0 + 0.1) / 2)  # half-way down the cosine of 40 steps


def test_learning_rate_without_warm_up_and_with_nothing_but_warm_up():
    assert schedule(warmup_epochs=0).learning_rate(49) == pytest.approx(0.1)
    assert schedule(warmup_epochs=99).learning_rate(49) == pytest.approx(2.0 * 50 / 990)


def test_epochs_are_whole_at_their_end():
    plan = schedule()
    assert plan.epoch(20) == 2.0
    assert plan.epoch(25) == 2.5
