"""What was learned of strokes outside of the field in view, so that moving on forgets nothing.

Every result carries the features of the painted pixels of its field, and the viewer keeps them by model, detail, scale and
field: the worker may end at any time. A request sends those of other fields along as far as their pixels are still painted so:
an erased or undone stroke teaches no longer.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_sdmae.inference.scribbles.samples import Samples
from napari_sdmae.labels.serialization import plugin_metadata
from napari_sdmae.layers.base import Field
from napari_sdmae.widgets.scribbles.strokes import Painted, still_painted

MOST = 32
"""Fields remembered for each way of seeing."""
PER_CLASS = 500
"""Samples of a class remembered of a field, evenly chosen: a megabyte for a ViT-S."""


@dataclass(frozen=True, eq=False)
class _Part:
    layer: Labels
    places: NDArray[np.int64]
    samples: Samples


class StrokeMemory:
    """Samples of segmented fields by what they were seen with (model, detail, scale) and by field.

    The worker keeps nothing: its samples are sent again with the next request, so that a new worker has them too.
    """

    def __init__(self) -> None:
        self._parts: dict[Hashable, dict[Hashable, _Part]] = {}

    def keep(self, seen: Hashable, field: Field, layer: Labels, painted: Painted, samples: Samples) -> None:
        """Remember the `samples` that came with the result for the `painted` pixels of `field`."""
        samples = _thinned(samples)
        parts = self._parts.setdefault(seen, {})
        parts.pop(field.key, None)
        parts[field.key] = _Part(layer, painted.places[samples.points], samples)
        while len(parts) > MOST:
            parts.pop(next(iter(parts)))

    def elsewhere(self, seen: Hashable, field: Field, layers: list[Labels]) -> list[Samples]:
        """Return what is known of strokes outside of `field` that are still there in one of `layers`; no place twice."""
        found = []
        told: dict[int, NDArray[np.int64]] = {}
        for part in reversed(list(self._parts.get(seen, {}).values())):
            if not any(part.layer is layer for layer in layers):
                continue
            fresh = _still(part, field) & ~np.isin(part.places, told.get(id(part.layer), np.zeros(0, np.int64)))
            told[id(part.layer)] = np.concatenate([told.get(id(part.layer), part.places[:0]), part.places])
            if fresh.any():
                found.append(part.samples.where(fresh))
        return found


def _thinned(samples: Samples) -> Samples:
    groups = [np.flatnonzero(samples.values == value) for value in np.unique(samples.values)]
    kept = [group[np.linspace(0, len(group) - 1, min(len(group), PER_CLASS)).round().astype(np.int64)] for group in groups]
    return samples.where(np.concatenate([*kept, np.zeros(0, np.int64)]).astype(np.int64))


def _still(part: _Part, field: Field) -> NDArray[np.bool_]:
    values = part.samples.values
    if plugin_metadata(part.layer).get("strokes_on") == field.source.id:
        return still_painted(part.layer, field, part.places, values)
    same: NDArray[np.bool_] = np.asarray(part.layer.data).ravel()[part.places] == values
    return same
