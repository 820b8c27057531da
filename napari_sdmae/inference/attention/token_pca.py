"""Principal components of patch tokens as colours.

Fitted over one field, or over several so that the same colour means the same in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_sdmae.typing import Floats


@dataclass(frozen=True)
class PCABasis:
    """Three axes in token space, and the range of each that fills a colour channel.

    Attributes
    ----------
    mean
        (width,)
    axes
        (3, width), orthonormal.
    low, high
        (3,), 1st and 99th percentile of the projections it was fitted to.
    variance
        (3,), share of the variance along each axis.
    """

    mean: Floats
    axes: Floats
    low: Floats
    high: Floats
    variance: Floats

    def colours(self, tokens: Floats) -> Floats:
        """Return tokens (…, width) as RGB in [0, 1], (…, 3)."""
        if tokens.shape[-1] != len(self.mean):
            raise ValueError(f"these colours belong to tokens of width {len(self.mean)}, not {tokens.shape[-1]}: fit them again")
        projected = (tokens - self.mean) @ self.axes.T
        span = np.maximum(self.high - self.low, np.finfo(np.float32).tiny)
        colours: Floats = np.clip((projected - self.low) / span, 0, 1).astype(np.float32)
        return colours


def fit_pca(tokens: Floats) -> PCABasis:
    """Fit three components to tokens (n, width), of one field or of several stacked.

    The sign of a component is free: the side with the longer tail (positive skewness) is shown bright, which depends on all
    tokens, so that it does not flip between runs or machines.
    """
    mean = tokens.mean(0, dtype=np.float64)
    centred = tokens - mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :3].T
    projected = centred @ axes.T
    signs = np.where((projected**3).mean(0) < 0, -1.0, 1.0)
    low, high = np.percentile(projected * signs, (1, 99), axis=0)
    variance = np.maximum(values[::-1][:3], 0) / max(values.sum(), np.finfo(np.float64).tiny)
    return PCABasis(*(part.astype(np.float32) for part in (mean, axes * signs[:, None], low, high, variance)))
