"""The probes of benchmarks/representation.py: what they must find, and what they must not."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("probes")


@pytest.fixture
def cells() -> np.ndarray:
    """Nuclei of 6 slides: round spots in fields of 32 px, as fractions of cells of 2 px."""
    rows, columns = np.mgrid[:16, :16]
    generator, fields = np.random.default_rng(0), []
    for _ in range(6):
        places = generator.uniform(0, 16, (9, 2))
        nearest = np.min([np.hypot(rows - row, columns - column) for row, column in places], axis=0)
        fields.append((nearest < 2.2).astype(float))
    return np.stack(fields)


def test_tokens_that_hold_the_nuclei_are_read_and_noise_is_not(probes: ModuleType, cells: np.ndarray) -> None:
    inside = cells.reshape(6, 4, 4, 4, 4).transpose(0, 1, 3, 2, 4).reshape(6, 4, 4, 16)
    mixed = torch.from_numpy(inside @ np.random.default_rng(1).normal(size=(16, 16)))
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=(6, 4, 4, 16)))
    known = probes.probe_nuclei(torch.cat([mixed, 0 * noise], 3), torch.cat([noise, noise], 3), cells)
    assert known["nuclei mIoU"] > 0.8
    assert known["nuclei R2"] > 0.8
    assert known["nuclei R2 stain"] < 0.3
    assert probes.probe_nuclei(noise, noise, cells)["nuclei R2"] < 0.2


def test_a_slide_is_predicted_by_what_the_others_taught(probes: ModuleType) -> None:
    generator = np.random.default_rng(3)
    inputs, wanted = generator.normal(size=(5, 30, 4)), generator.random((5, 30, 2))
    predicted, _ = probes._leave_one_slide_out(inputs, inputs, wanted)
    scaled = (inputs - inputs.mean((0, 1))) / (inputs.std((0, 1)) + 1e-8)
    constant = np.concatenate([scaled, np.ones((5, 30, 1))], 2)
    gaps = []
    for penalty in probes.PENALTIES:
        ridge = np.sqrt(penalty) * np.eye(5)[:4]
        given = np.concatenate([constant[1:].reshape(-1, 5), ridge])
        weights = np.linalg.lstsq(given, np.concatenate([wanted[1:].reshape(-1, 2), np.zeros((4, 2))]), rcond=None)[0]
        gaps.append(np.abs(constant[0] @ weights - predicted[0][0]).max())
    assert min(gaps) < 1e-8


def test_logistic_regression_reaches_the_optimum(probes: ModuleType) -> None:
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 3, 90)
    inputs, test = generator.normal(size=(90, 8)) + labels[:, None] * 0.5, generator.normal(size=(200, 8)) + 0.5

    def loss(values: np.ndarray) -> float:
        weight, bias = values[:24].reshape(8, 3), values[24:]
        logits = inputs @ weight + bias
        return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(90), labels]) + 0.005 * (weight**2).sum())

    best = minimize(loss, np.zeros(27)).x
    theirs = np.argmax(test @ best[:24].reshape(8, 3) + best[24:], 1)
    assert (probes.logistic_regression(inputs, labels, 3, penalty=0.01)(test) == theirs).mean() > 0.98


def test_few_labels_come_from_as_many_groups_as_possible(probes: ModuleType) -> None:
    labels = np.repeat([0, 1, 2], 40)
    groups = np.array([f"{label}-{number % 10}" for number, label in enumerate(labels)])
    train = np.arange(120) % 40 < 30
    classes = probes.Classes(torch.zeros(120, 3, 1, 1), labels, groups, train)
    draws = list(probes.few(classes, 5, 8))
    for chosen in draws:
        assert np.bincount(labels[train][chosen]).tolist() == [5, 5, 5]
        assert len(set(groups[train][chosen])) == 15
    assert len({tuple(chosen) for chosen in draws}) == 8
    used = {int(index) for chosen in draws for index in chosen}
    assert len(used) > 60


def test_maps_are_put_together_from_windows(probes: ModuleType) -> None:
    def tokens(windows: torch.Tensor) -> torch.Tensor:
        return windows.unfold(2, 4, 4).unfold(3, 4, 4).mean((1, 4, 5)).flatten(1)[:, :, None]

    images = torch.rand(2, 3, 16, 24)
    maps = probes.token_maps(probes.Encoder(tokens, 8), images)
    torch.testing.assert_close(maps[..., 0], torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)[:, 0])


def test_rank_counts_directions(probes: ModuleType) -> None:
    basis = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0)))[0][:5]
    tokens = torch.randn(3000, 5, generator=torch.Generator().manual_seed(1)) @ basis
    assert probes.effective_rank(tokens) == pytest.approx(5, abs=0.1)
