"""What is requested of a head and how its result is shown: pure functions between controls, worker and layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.humanize import sentence, several
from napari_sdmae.inference.prediction.result import Box
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.layers.base import Field, LayerData, attributes, placed
from napari_sdmae.layers.labels import LABELS, in_source, labels_layer, probability_layers
from napari_sdmae.notices import PREDICTION
from napari_sdmae.widgets.canvas.layer_region import source_text
from napari_sdmae.worker.protocol import SegmentResult

KEYS = "segment/"
"""What the keys of all layers made here start with."""
MOST_CAPTIONS = 200
"""More boxes than this are shown without words, which would hide the tissue; they are in the table."""
NOTHING = "Nothing found."
__all__ = ["BOXES", "KEYS", "LABELS", "result_layers", "source_text", "summary"]
BOXES = f"{KEYS}boxes"


def result_layers(field: Field, result: SegmentResult, source: str) -> list[LayerData]:
    """Return the layers of a result, from below: probabilities, labels, boxes."""
    label_map = in_source(result.label_map, field, source)
    known = provenance(result)
    place = place_of(label_map, field)
    layers: list[LayerData] = []
    if result.probabilities is not None:
        layers += probability_layers(result.probabilities, result.channels, label_map, place, known)
    detection = result.head.task == "detection"
    beneath: dict[str, Any] = {"opacity": 0.2} if detection else {}  # the tissue in a box is what is looked at
    layers.append(labels_layer(label_map, place, known, **beneath))
    if detection:
        layers.append(box_layer(field, result.boxes, label_map, known))
    return layers


def place_of(label_map: LabelMap, field: Field) -> Field:
    """Return where the labels lie: on the field, or with one pixel for each tile of it."""
    origin = tuple(round(at) for at in label_map.origin)
    return replace(field, origin=(origin[0], origin[1]), size=label_map.labels.shape, step=label_map.step)


def provenance(result: SegmentResult) -> dict[str, Any]:
    """Return what made the layers, for their metadata."""
    return {
        "head": result.head_folder,
        "head_name": result.head_name,
        "head_classes": [one.model_dump() for one in result.head.classes],
        "task": result.head.task,
        "note": PREDICTION,
    }


def box_layer(field: Field, boxes: Sequence[Box], label_map: LabelMap, known: Mapping[str, Any]) -> LayerData:
    """Return the boxes as rectangles with class and score; corners are edges of pixels, and pixel centres are integers."""
    leading = len(field.source.scale) - 2
    shapes = [np.pad(_corners(box) - 0.5, [(0, 0), (leading, 0)]) for box in boxes]
    classes = [label_map.class_named(box.value) for box in boxes]
    display = {
        "shape_type": "rectangle",
        "edge_color": np.array([[*one.colour, 255] for one in classes]).reshape(-1, 4) / 255,
        "face_color": "transparent",
        "edge_width": 2.0,
        "opacity": 1.0,
        "features": {"class": [one.name for one in classes], "score": [box.score for box in boxes]},
        "text": {
            "string": "{class} {score:.2f}",
            "size": 9,
            "anchor": "upper_left",
            "color": "#00e5ff",
            "visible": len(boxes) <= MOST_CAPTIONS,
        },
    }
    return shapes, attributes(field, "boxes", BOXES, known) | placed(field) | display, "shapes"


def _corners(box: Box) -> NDArray[np.float64]:
    return np.array([[box.top, box.left], [box.top, box.right], [box.bottom, box.right], [box.bottom, box.left]], np.float64)


PLURALS = {"nucleus": "nuclei", "cell": "cells", "gland": "glands"}
"""Classes that are the name of an object; other names may be of anything, such as epithelial."""


def summary(result: SegmentResult, seconds: float) -> str:
    """Return what was found, in one line, and the warnings below it."""
    return "\n".join([f"{found(result)} Done in {seconds:.1f} s.", *map(sentence, result.warnings)])


def found(result: SegmentResult) -> str:
    """Return how many boxes, tiles or objects of which class there are, or how much of the picture each class takes."""
    label_map, task = result.label_map, result.head.task
    if task == "detection":  # a box that others cover has no pixel of its own
        return _listed([label_map.class_named(box.value).name for box in result.boxes], "box", "boxes")
    if label_map.instances:
        names = [label_map.class_at(int(label)).name for label in np.unique(label_map.labels) if label]
        return _listed(names, *(("tile", "tiles") if task == "classification" else ("object", "objects")))
    values, counts_of = np.unique(label_map.labels, return_counts=True)
    shares = {int(value): count / label_map.labels.size for value, count in zip(values, counts_of, strict=True) if value}
    words = [f"{label_map.class_named(value).name} {share:.0%}" for value, share in shares.items()]
    return ("Of the picture: " + ", ".join(words) + ".") if words else NOTHING


def _listed(names: Sequence[str], one: str, more: str) -> str:
    """Return how many of each name there are, the most frequent first."""
    counts = Counter(names).most_common()
    if not counts:
        return NOTHING
    if len(counts) == 1 and counts[0][0].casefold() in PLURALS:
        return f"{several(len(names), counts[0][0], PLURALS[counts[0][0].casefold()])} found."
    each = ", ".join(f"{count:,} {name}" for name, count in counts) if len(counts) > 1 else counts[0][0]
    return f"{several(len(names), one, more)} found: {each}."
