"""What this plugin keeps in the metadata of napari layers, and label maps there: the one codec.

Plain values and arrays alone, so that napari can save a layer. The pixels and measurements of a label map are the layer's own
data and features; all else that it has beside them is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.labels.label_map import LabelClass, LabelMap

METADATA_KEY = "sdmae"
"""Under which everything of this plugin lies in the metadata of a layer."""
PLAIN = ("mpp", "origin", "step", "source", "instances")
"""Attributes of a label map that are plain already."""


def plugin_metadata(layer: Any) -> dict[str, Any]:
    """Return a copy of what this plugin keeps in the metadata of `layer`."""
    return dict(layer.metadata.get(METADATA_KEY, {}))


def update_metadata(layer: Any, **values: Any) -> None:
    """Keep `values` in the metadata of `layer`; what else is there stays."""
    layer.metadata = {**layer.metadata, METADATA_KEY: plugin_metadata(layer) | values}


def metadata_of_labels(label_map: LabelMap) -> dict[str, Any]:
    """Return what a layer keeps of a label map in addition to labels and measurements."""
    return {
        **{name: getattr(label_map, name) for name in PLAIN},
        "classes": [one.model_dump() for one in label_map.classes],
        "class_of": {int(label): int(value) for label, value in label_map.class_of.items()},
        "nuclei": label_map.nuclei,
    }


def classes_in(metadata: Mapping[str, Any]) -> tuple[LabelClass, ...]:
    """Return the classes that :func:`metadata_of_labels` kept; none where there are none."""
    return tuple(LabelClass.model_validate(one) for one in metadata.get("classes", ()))


def class_of_in(metadata: Mapping[str, Any]) -> dict[int, int]:
    """Return the class value of each object that :func:`metadata_of_labels` kept; none where there are none."""
    return {int(label): int(value) for label, value in metadata.get("class_of", {}).items()}


def labels_from_metadata(
    metadata: Mapping[str, Any], labels: NDArray[np.int32], measurements: Mapping[str, NDArray[Any]]
) -> LabelMap:
    """Return the label map of a layer with these `labels`, which a person may have painted since, and `measurements`."""
    nuclei = None if metadata.get("nuclei") is None else np.asarray(metadata["nuclei"])
    if nuclei is not None:  # what a person painted over is a nucleus no more
        nuclei = np.where(nuclei == labels, nuclei, 0).astype(np.int32) if nuclei.shape == labels.shape else None
    row, column = metadata.get("origin", (0.0, 0.0))
    mpp = metadata.get("mpp")
    return LabelMap(
        labels=labels,
        classes=classes_in(metadata),
        instances=bool(metadata.get("instances", False)),
        class_of=class_of_in(metadata),
        mpp=None if mpp is None else float(mpp),
        origin=(float(row), float(column)),
        step=float(metadata.get("step", 1.0)),
        source=str(metadata.get("source", "")),
        nuclei=nuclei,
        measurements=measurements,
    )
