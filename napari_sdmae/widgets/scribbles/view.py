"""What is requested about strokes and how the result is shown: functions between controls, worker and layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.model_info.info import ModelInfo, fingerprint
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.layers.base import Field, LayerData, derived
from napari_sdmae.layers.labels import in_source, labels_layer
from napari_sdmae.worker.protocol import ScribbleResult

ANSWER = "scribbles/answer/"
"""What the keys of the layers shown here start with; they are withdrawn when a request fails."""
LABELS, PROBABILITY = f"{ANSWER}labels", f"{ANSWER}probability"
OPACITY = 0.4


def seen_with(info: ModelInfo, detail: int, mpp: float | None) -> tuple[Any, ...]:
    """Return what must be equal for features of two fields to be comparable."""
    return str(info.folder), fingerprint(info.folder), detail, None if mpp is None else round(mpp, 3)


def result_layers(
    field: Field, result: ScribbleResult, classes: Sequence[LabelClass], probability_of: int | None, source: str
) -> list[LayerData]:
    """Return the layers of a result, from below: the probability of one class, the classes."""
    made_by = {
        "method": result.method,
        "detail": result.detail,
        "agreement": dict(result.agreement),
        "note": result.note,
        "model": str(result.model.folder),
    }
    label_map = replace(in_source(result.label_map, field, source), classes=told_apart(result, classes))
    layers = []
    if result.probabilities is not None and probability_of in result.channels:
        values = result.probabilities[result.channels.index(probability_of)].astype(np.float32) / 255
        layers.append(_probability(field, values, label_map.class_named(probability_of), made_by))
    layers.append(labels_layer(label_map, field, made_by, what="from strokes", key=LABELS, opacity=OPACITY))
    return layers


def told_apart(result: ScribbleResult, classes: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
    """Return the classes of a result, called and coloured as those of `classes` are now."""
    now = {one.value: one for one in classes}
    return tuple(now.get(one.value, one) for one in result.label_map.classes)


def _probability(field: Field, values: NDArray[np.float32], one: LabelClass, made_by: Mapping[str, Any]) -> LayerData:
    style: dict[str, Any] = {"colormap": "magma", "contrast_limits": (0.0, 1.0), "opacity": 0.7}
    return derived(field, values, f"probability of {one.name}", PROBABILITY, {**made_by, "class": one.value}, **style)


def agreement_line(result: ScribbleResult, classes: Sequence[LabelClass]) -> str:
    """Return how consistent the strokes are, and which class has too few."""
    names = {one.value: one.name for one in classes}
    told = result.agreement
    lines = []
    if len(told) > 1:
        each = ", ".join(f"{names.get(value, value)} {share:.0%}" for value, share in told.items())
        lines.append(
            f"Consistency of your strokes: {np.mean(list(told.values())):.0%} ({each}). This is not the accuracy of the picture."
        )
    few = [f"{names[value]} ({result.counts[value]})" for value in result.few if value in names]
    if few:
        lines.append(f"Too few strokes: {', '.join(few)}. Paint at least two of each class, in different places.")
    return "\n".join(lines)
