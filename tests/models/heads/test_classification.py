"""Heads for whole tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_heads import noise, tiny_head

from napari_sdmae.models.heads.classification import NearestNeighbours


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("classifier", ["mean", "linear_probe"])
def test_logits_for_two_and_many_classes_and_single_tiles(classifier: str, classes: int) -> None:
    model = tiny_head("classification", classes, head={"classifier": classifier}).train()
    assert model(noise(model, 4)).shape == (4, classes)
    assert model(noise(model, 1)).isfinite().all()


def test_the_mean_head_is_mean_norm_linear() -> None:
    model = tiny_head("classification")
    images = noise(model, 2, 3, 5)
    tokens = model.encoder.forward_features(images)
    torch.testing.assert_close(model.pooled(images), tokens.mean(1))
    norm, linear = model.head
    centred = tokens.mean(1) - tokens.mean(1).mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(model(images), normed @ linear.weight.T + linear.bias)


def test_the_probe_standardises_without_weights() -> None:
    model = tiny_head("classification", head={"classifier": "linear_probe"}).train()
    norm = model.head[0]
    assert norm.weight is None
    assert norm.bias is None
    features = torch.randn(64, 48) * 3 + 5
    done = norm(features)
    torch.testing.assert_close(done.mean(0), torch.zeros(48), rtol=0, atol=1e-5)
    torch.testing.assert_close(done.std(0, correction=0), torch.ones(48), rtol=1e-4, atol=0)
    model.eval()
    wanted = (features - norm.running_mean) / (norm.running_var + 1e-6).sqrt()
    torch.testing.assert_close(norm(features), wanted)
    torch.testing.assert_close(model.train().head[0](features[:1]), wanted[:1])


def test_neighbours_vote_as_in_a_slow_oracle() -> None:
    generator = np.random.default_rng(0)
    stored, asked, labels = generator.normal(size=(30, 8)), generator.normal(size=(5, 8)), generator.integers(0, 4, 30)
    head = NearestNeighbours(8, 4, neighbours=7)
    head.fit(torch.from_numpy(stored), torch.from_numpy(labels))
    found = head(torch.from_numpy(asked).float()).exp()
    for row, feature in enumerate(asked):
        similarity = [float(feature @ one / np.linalg.norm(feature) / np.linalg.norm(one)) for one in stored]
        nearest = sorted(range(30), key=lambda n: -similarity[n])[:7]
        votes = np.zeros(4)
        for n in nearest:
            votes[labels[n]] += np.exp(similarity[n] / 0.07)
        np.testing.assert_allclose(found[row], np.maximum(votes / votes.sum(), 1e-7), rtol=1e-4)


def test_fewer_tiles_than_neighbours_and_a_tile_itself() -> None:
    head = NearestNeighbours(3, 2, neighbours=10)
    head.fit(torch.eye(3), torch.tensor([0, 1, 1]))
    assert head(torch.eye(3)).argmax(1).tolist() == [0, 1, 1]


def test_neighbours_say_what_is_wrong() -> None:
    head = NearestNeighbours(3, 2, 10)
    with pytest.raises(RuntimeError, match="call fit"):
        head(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"expected \(N, 3\) and \(N,\)"):
        head.fit(torch.zeros(2, 4), torch.zeros(2))
    with pytest.raises(ValueError, match="labels go from 0 to 2; expected 0 to 1"):
        head.fit(torch.zeros(2, 3), torch.tensor([0, 2]))
