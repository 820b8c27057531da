"""Label maps as plain dictionaries, for the way between worker and viewer. No torch: the viewer uses it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_sdmae.labels.label_map import LabelClass, LabelMap

PLAIN = ("labels", "instances", "mpp", "origin", "step", "source", "nuclei")
"""Attributes of a label map that are plain already."""


def label_map_to_answer(label_map: LabelMap) -> dict[str, Any]:
    """Return a label map as plain values and arrays; a map kept in a file comes into memory."""
    plain: dict[str, Any] = {name: getattr(label_map, name) for name in PLAIN}
    plain["labels"] = np.ascontiguousarray(label_map.labels, np.int32)
    plain["nuclei"] = None if label_map.nuclei is None else np.ascontiguousarray(label_map.nuclei, np.int32)
    return plain | {
        "classes": [one.model_dump() for one in label_map.classes],
        "class_of": {int(number): int(value) for number, value in label_map.class_of.items()},
        "measurements": {name: np.asarray(column) for name, column in label_map.measurements.items()},
    }


def label_map_from_answer(answer: Mapping[str, Any]) -> LabelMap:
    """Return the label map of a dictionary that holds what :func:`label_map_to_answer` returned, among other things.

    Raises
    ------
    ValueError
        If something is missing.
    """
    wanted = (*PLAIN, "classes", "class_of", "measurements")
    if missing := [name for name in wanted if name not in answer]:
        raise ValueError(f"this is no label map: {', '.join(missing)} missing; expected an answer of segment or measure")
    return LabelMap(
        **{name: answer[name] for name in PLAIN} | {"origin": (float(answer["origin"][0]), float(answer["origin"][1]))},
        classes=tuple(LabelClass.model_validate(one) for one in answer["classes"]),
        class_of=dict(answer["class_of"]),
        measurements=dict(answer["measurements"]),
    )
