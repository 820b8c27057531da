"""Numbers beside an attention map: how spread out it is, and how far it looks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.io.images.field import Grid


def entropy(weights: NDArray[np.floating]) -> float:
    """Return -Σ p ln p in nats of weights that sum to 1: 0 on one patch, ln L on L patches evenly."""
    p = weights.ravel().astype(np.float64)
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def gini(weights: NDArray[np.floating]) -> float:
    """Return the Gini coefficient of non-negative weights: 0 when even, 1 - 1/L when all on one of L patches.

    With the weights sorted ascending, x_1 ≤ … ≤ x_L: G = Σ (2k - L - 1) x_k / (L Σ x).
    """
    x = np.sort(weights.ravel().astype(np.float64))
    ranks = 2 * np.arange(1, len(x) + 1) - len(x) - 1
    return float((ranks * x).sum() / (len(x) * x.sum()))


def distances(grid: Grid, patches: slice, device: torch.device) -> Tensor:
    """Return the distances in field pixels from some `patches` to all L, (rows, L)."""
    index = torch.arange(grid.count, device=device)
    centres = torch.stack((index // grid.columns, index % grid.columns), 1).float() * grid.cell
    return torch.cdist(centres[patches], centres, compute_mode="donot_use_mm_for_euclid_dist")


def travelled(attention: Tensor, distance: Tensor) -> Tensor:
    """Return Σ_ij A_ij d_ij per head, (heads,), of attention (heads, rows, L) over distances (rows, L)."""
    return attention.flatten(1) @ distance.flatten()
