"""Whole tiles that heads classify, where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from seeing_heads import TILE, head
from torch import nn

from napari_sdmae.data.tiles.grid import tissue_fraction
from napari_sdmae.inference.prediction.predict import predict
from napari_sdmae.io.images.read import read_image
from napari_sdmae.models.heads.head_model import HeadModel

RGB = NDArray[np.uint8]


def stained(tissue: Path, organ: str, count: int) -> RGB:
    """Return tiles of 64 px of an organ that show tissue, (count, 64, 64, 3)."""
    images = np.stack([read_image(path) for path in sorted(tissue.glob(f"tiles/{organ}/*.jpg"))[:20]])
    tiles = images.reshape(-1, 4, TILE, 4, TILE, 3).swapaxes(2, 3).reshape(-1, TILE, TILE, 3)
    return tiles[tissue_fraction(tiles) > 0.9][:count]


def glass(shape: tuple[int, ...], seed: int) -> RGB:
    return np.clip(np.random.default_rng(seed).normal(238, 3, shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def tissue_or_glass(tissue: Path) -> HeadModel:
    """A classifier of tissue against glass: ridge regression on the features of a random encoder, from 100 tiles of each."""
    model = head("classification", 2)
    tiles = np.concatenate([glass((100, TILE, TILE, 3), 0), stained(tissue, "colon", 100)])
    with torch.inference_mode():
        features = np.c_[model.pooled(model.normalise(torch.from_numpy(tiles))).numpy(), np.ones(len(tiles))]
    wanted = np.repeat([-1.0, 1.0], [100, len(tiles) - 100])
    weights = np.linalg.solve(features.T @ features + 0.1 * np.eye(49), features.T @ wanted)
    model.head = nn.Linear(48, 2)
    with torch.no_grad():
        model.head.weight.copy_(10 * torch.tensor(np.stack([-weights[:-1], weights[:-1]]), dtype=torch.float32))
        model.head.bias.copy_(10 * torch.tensor([-weights[-1], weights[-1]], dtype=torch.float32))
    return model


def test_tiles_are_classified_where_they_lie(tissue_or_glass: HeadModel, tissue: Path) -> None:
    picture = glass((256, 512, 3), 1)
    other = stained(tissue, "stomach", 16).reshape(4, 4, TILE, TILE, 3).swapaxes(1, 2).reshape(256, 256, 3)
    picture[:, 256:] = other
    found = predict(tissue_or_glass, picture, mpp=0.5, probabilities=True)
    tiles = found.label_map
    assert tiles.instances
    assert (tiles.labels.shape, tiles.step) == ((4, 8), TILE)
    values = np.vectorize(tiles.class_of.get)(tiles.labels)
    np.testing.assert_array_equal(values, np.repeat([[0] * 4 + [1] * 4], 4, 0))
    assert [one.value for one in tiles.classes] == [0, 1]  # of tiles, 0 is a class like others
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities[1].astype(float).ravel(), tiles.measurements["probability kind 1"], atol=1e-3)
    one = predict(tissue_or_glass, picture[:100, 256:356], mpp=0.5).label_map
    assert one.class_of == {1: 1}
    np.testing.assert_array_equal(one.labels, np.ones((100, 100)))
    with torch.inference_mode():
        for small in (picture[:100, 256:340], picture[100:150, 250:360]):  # the tile in the middle, reflected where it is short
            height, width = small.shape[:2]
            middle = small[max(height - TILE, 0) // 2 :, (width - TILE) // 2 :][:TILE, :TILE]
            middle = np.pad(middle, ((0, TILE - len(middle)), (0, 0), (0, 0)), mode="symmetric")
            logits = tissue_or_glass(tissue_or_glass.normalise(torch.from_numpy(middle)[None]))
            found = predict(tissue_or_glass, small, mpp=0.5, probabilities=True)
            np.testing.assert_allclose(found.probabilities.ravel(), logits.softmax(1).numpy()[0], atol=1e-3)
    finer = predict(tissue_or_glass, picture.repeat(2, 0).repeat(2, 1), mpp=0.25).label_map
    assert (finer.labels.shape, finer.step) == ((4, 8), 2 * TILE)


def test_a_classifier_of_unknown_scale_sees_pictures_as_its_training_images(skin: RGB) -> None:
    """Trained on images of 128 px fitted to tiles of 64: a picture of 128 px is one tile, whatever its scale."""
    model = head("classification", 2)
    model.spec = model.spec.model_copy(update={"mpp": None, "tile_size": 64, "fitted_px": 128.0})
    picture = skin[:128, :128]
    halved = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR))
    with torch.inference_mode():
        expected = model(model.normalise(torch.from_numpy(halved)[None])).softmax(1)[0].numpy()
    for mpp in (None, 0.25):
        found = predict(model, picture, mpp=mpp, probabilities=True)
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities.astype(float).max((1, 2)), expected, atol=2e-3)
        assert any("resized 0.5 times" in warning for warning in found.warnings)
