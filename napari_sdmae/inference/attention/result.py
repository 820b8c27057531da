"""What an attention map is: values, place and numbers. Torch-free, so that the viewer can hold one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.attention import Method
from napari_sdmae.inference.attention.token_pca import PCABasis
from napari_sdmae.io.images.field import Grid
from napari_sdmae.io.model_info.info import ModelInfo

Head = int | Literal["mean", "grid"]
Statistics = dict[str, float | list[float] | None]


@dataclass(frozen=True)
class AttentionMap:
    """One value per patch, and the numbers beside it.

    Attributes
    ----------
    values
        float32: (rows, columns) that sums to 1; (heads, rows, columns), each sums to 1, for ``head="grid"``;
        cosines in [-1, 1] for similarity; (rows, columns, 3) RGB in [0, 1] for pca.
    grid
        The patches on the field.
    method, block, head
        What was asked; `block` counts from 0.
    query
        (row, column) of the query patch, or None.
    entropy, gini
        Of each map that sums to 1, else empty. Entropy in nats.
    distance_px
        Mean distance in field pixels that the attention of each head goes, Σ A_ij d_ij / Σ A_ij, over all queries for received,
        over one for query; else empty.
    pca
        The basis of the colours of method pca.
    """

    values: NDArray[np.float32]
    grid: Grid
    method: Method
    block: int
    head: Head
    query: tuple[int, int] | None = None
    entropy: tuple[float, ...] = ()
    gini: tuple[float, ...] = ()
    distance_px: tuple[float, ...] = ()
    pca: PCABasis | None = None

    def statistics(self, mpp: float | None = None) -> Statistics:
        """Return the numbers as plain values: one per head for a grid of heads; distances also in µm if `mpp` is known."""
        many = self.head == "grid"
        pixels = list(self.distance_px) or None
        return {
            "entropy": list(self.entropy) if many else next(iter(self.entropy), None),
            "entropy_max": math.log(self.grid.count),
            "gini": list(self.gini) if many else next(iter(self.gini), None),
            "distance_px": pixels,
            "distance_um": [distance * mpp for distance in pixels] if pixels and mpp else None,
        }


@dataclass(frozen=True, eq=False)
class ColourBasis:
    """The colours of a token map, and the fingerprint of the model whose tokens they were fitted to."""

    pca: PCABasis
    fingerprint: str


@dataclass(frozen=True, eq=False)
class AttentionResult:
    """An attention map with its model and its place on the field.

    Attributes
    ----------
    map
        The map of the field.
    model
        Whose attention it is.
    blocks, heads
        How many the encoder has.
    downsample
        By how much the field was reduced before it was encoded.
    mpp
        µm per pixel of the field; None if unknown.
    colours
        For method pca: the basis that makes the colours of another field comparable.
    warnings
        What a person must be told about this map.
    cached
        Whether the field was encoded already.
    seconds
        Time to load the model, to encode the field and to draw the map.
    """

    map: AttentionMap
    model: ModelInfo
    blocks: int
    heads: int
    downsample: int
    mpp: float | None = None
    colours: ColourBasis | None = None
    warnings: tuple[str, ...] = ()
    cached: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def cell(self) -> tuple[int, int]:
        """(rows, columns) of field pixels per value of the map."""
        return self.map.grid.cell, self.map.grid.cell

    @property
    def first(self) -> tuple[float, float]:
        """Centre of the first patch in field pixels."""
        half = (self.map.grid.cell - 1) / 2
        return half, half

    @property
    def query(self) -> tuple[float, float] | None:
        """Centre of the query patch in field pixels; None if the method has none."""
        return None if self.map.query is None else self.map.grid.centre(self.map.query)

    @property
    def statistics(self) -> Statistics:
        """The numbers of the map, distances also in µm where the scale is known."""
        return self.map.statistics(self.mpp)

    @property
    def variance(self) -> list[float] | None:
        """For method pca: the share of the variance that each colour shows."""
        return None if self.map.pca is None else self.map.pca.variance.tolist()
