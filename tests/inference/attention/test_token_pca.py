"""Colours of tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sdmae.inference import attention_maps, encode_field
from napari_sdmae.inference.attention.token_pca import fit_pca
from napari_sdmae.io.checkpoints.load import load_encoder


@pytest.fixture
def tokens() -> NDArray[np.float32]:
    """Skewed tokens with four unequal axes in 10 dimensions."""
    random = np.random.default_rng(0)
    latent = random.exponential(size=(500, 4)) * (8, 4, 2, 1)
    turn, _ = np.linalg.qr(random.normal(size=(10, 10)))
    return (latent @ turn[:4] + 3).astype(np.float32)


def test_axes_are_those_of_the_singular_value_decomposition(tokens: NDArray[np.float32]) -> None:
    basis = fit_pca(tokens)
    _, values, axes = np.linalg.svd(tokens.astype(np.float64) - tokens.mean(0, dtype=np.float64), full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(basis.axes * axes[:3], axis=1)), 1, atol=1e-5)
    np.testing.assert_allclose(basis.variance, values[:3] ** 2 / (values**2).sum(), rtol=1e-5)


def test_the_longer_tail_is_bright(tokens: NDArray[np.float32]) -> None:
    colours = fit_pca(tokens).colours(tokens)
    assert (np.mean((colours - colours.mean(0)) ** 3, axis=0) > 0).all()
    np.testing.assert_allclose(fit_pca(tokens[::-1].copy()).colours(tokens), colours, atol=1e-4)


def test_scaling_is_by_percentiles(tokens: NDArray[np.float32]) -> None:
    colours = fit_pca(tokens).colours(tokens)
    assert colours.min() == 0
    assert colours.max() == 1
    np.testing.assert_allclose((colours == 0).mean(0), 0.01, atol=0.003)
    np.testing.assert_allclose((colours == 1).mean(0), 0.01, atol=0.003)


def test_a_basis_makes_fields_comparable(model_folder: Path, tissue_tile: NDArray[np.uint8]) -> None:
    encoder = load_encoder(model_folder)
    left, right = (encode_field(encoder, tissue_tile[:128, part]) for part in (slice(0, 64), slice(64, 128)))
    own = attention_maps(left, method="pca")
    again = attention_maps(left, method="pca", pca=own.pca)
    np.testing.assert_array_equal(own.values, again.values)
    foreign = attention_maps(right, method="pca", pca=own.pca)
    assert (foreign.values != attention_maps(right, method="pca").values).any()
    truth = right.normed_tokens(2).numpy().astype(np.float64) @ own.pca.axes.T - own.pca.mean @ own.pca.axes.T
    truth = np.clip((truth - own.pca.low) / (own.pca.high - own.pca.low), 0, 1)
    np.testing.assert_allclose(foreign.values.reshape(-1, 3), truth, atol=1e-4)


def test_an_empty_field_has_colours(tokens: NDArray[np.float32]) -> None:
    same = np.repeat(tokens[:1], 20, axis=0)
    assert np.isfinite(fit_pca(same).colours(same)).all()


def test_colours_of_another_model_are_refused(tokens: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="width 10, not 8"):
        fit_pca(tokens).colours(tokens[:, :8])
