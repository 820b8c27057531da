"""Boxes of random resized crops, all at once.

torchvision draws area and aspect ratio until the box fits, ten times at most. What it arrives at is the uniform distribution over
the pairs (area, log ratio) that fit; here it is drawn directly, by inverting the cumulated distribution of the area.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def random_boxes(numbers: Array, scale: tuple[float, float], ratio: tuple[float, float], edge: int) -> NDArray[np.int64]:
    """Return random boxes in square tiles.

    Parameters
    ----------
    numbers
        Uniform in [0, 1), (B, 4): for area, aspect ratio, row and column.
    scale
        Smallest and largest area, as fraction of the tile.
    ratio
        Smallest and largest width over height. A ratio that does not fit at any of the areas is brought as near as it fits.
    edge
        Edge of the tiles, in px.

    Returns
    -------
    ndarray
        int64 (B, 4): row, column, height, width in px, inside the tile, each at least 1 px high and wide.
    """
    area = _areas(numbers[:, 0], scale, ratio)
    low, high = _log_ratios(area, ratio)
    shape = np.exp((low + numbers[:, 1] * (high - low)) / 2)
    lengths = np.sqrt(area)[:, None] * np.stack([1 / shape, shape], axis=1)
    sides = np.rint(lengths * edge).clip(1, edge)
    corners = np.floor(numbers[:, 2:] * (edge - sides + 1))
    return np.concatenate([corners, sides], axis=1).astype(np.int64)


def typical_edge(scale: tuple[float, float], ratio: tuple[float, float]) -> float:
    """Return the edge of a typical crop of :func:`random_boxes`, as fraction of the tile's edge.

    It is the geometric mean of sqrt(height x width) over all crops: the middle of the scales at which tissue is seen when crops
    are resized to one size, as scales multiply.
    """
    quantiles = (np.arange(4096) + 0.5) / 4096
    return float(np.exp(np.log(_areas(quantiles, scale, ratio)).mean() / 2))


def _areas(uniform: Array, scale: tuple[float, float], ratio: tuple[float, float]) -> Array:
    """Draw areas with a density that follows how many (logarithmic) aspect ratios fit: none but 1 for the whole tile."""
    areas = np.linspace(*scale, 1025)
    low, high = _log_ratios(areas, ratio)
    fits = (low <= log(ratio[1])) & (high >= log(ratio[0]))
    density = np.where(fits, high - low + 1e-9, 0.0) if fits.any() else np.ones_like(areas)
    cumulated = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.interp(uniform, cumulated / cumulated[-1], areas)


def _log_ratios(area: Array, ratio: tuple[float, float]) -> tuple[Array, Array]:
    """Return the smallest and largest logarithm of an aspect ratio whose box of this area fits: |log ratio| <= -log area."""
    limit = -np.log(area)
    return np.clip(log(ratio[0]), -limit, limit), np.clip(log(ratio[1]), -limit, limit)
