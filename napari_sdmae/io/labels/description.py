"""A label map without its pixels as plain values: what every format keeps beside the labels, so that nothing is lost."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.labels.label_map import LabelClass, LabelMap, colour_of
from napari_sdmae.labels.objects import present
from napari_sdmae.text.errors import error_line

KEY = "sdmae"
VERSION = 1
MOST_OBJECTS = 20_000_000
"""Most objects whose classes are listed: a slide holds some millions of nuclei."""


def describe(label_map: LabelMap, *, measurements: bool = False) -> dict[str, Any]:
    """Return scale, place, classes and class of each object of `label_map`, fit for JSON.

    Parameters
    ----------
    label_map
        What is described; ``origin`` and ``step`` are in full-resolution source pixels, ``mpp`` in µm per such pixel.
    measurements
        Whether the measurement columns come along; not finite numbers become None.
    """
    description: dict[str, Any] = {
        "version": VERSION,
        "shape": list(label_map.labels.shape),
        "mpp": label_map.mpp,
        "origin": [float(corner) for corner in label_map.origin],
        "step": float(label_map.step),
        "instances": label_map.instances,
        "classes": [one.model_dump(mode="json") for one in label_map.classes],
        "class_of": _ranges(label_map.class_of),
        "source": label_map.source,
    }
    if measurements and label_map.measurements:
        columns = {name: np.asarray(column) for name, column in label_map.measurements.items()}
        description["measurements"] = {name: [_plain(value) for value in column.tolist()] for name, column in columns.items()}
    return description


def content_id(label_map: LabelMap, kind: str) -> uuid.UUID:
    """Return an id that follows from labels, description and `kind`: the same content gives the same file, byte for byte."""
    digest = hashlib.sha256(json.dumps([kind, describe(label_map)]).encode())
    for rows in range(0, len(label_map.labels), 1024):
        digest.update(label_map.labels[rows : rows + 1024].tobytes())
    return uuid.UUID(bytes=digest.digest()[:16])


def restore(
    description: Mapping[str, Any],
    labels: NDArray[np.integer],
    *,
    nuclei: NDArray[np.integer] | None = None,
    measurements: Mapping[str, NDArray[np.generic]] | None = None,
) -> LabelMap:
    """Return the label map that :func:`describe` described, with these pixels.

    Raises
    ------
    InvalidLabelsError
        If the description is damaged.
    """
    try:
        origin = description["origin"]
        return LabelMap(
            labels=as_labels(labels),
            classes=tuple(LabelClass.model_validate(one) for one in description["classes"]),
            instances=bool(description["instances"]),
            class_of=_from_ranges(description["class_of"]),
            mpp=None if description["mpp"] is None else float(description["mpp"]),
            origin=(float(origin[0]), float(origin[1])),
            step=float(description["step"]),
            source=str(description["source"]),
            nuclei=None if nuclei is None else as_labels(nuclei),
            measurements=_columns(description.get("measurements", {})) if measurements is None else measurements,
        )
    except (KeyError, TypeError, ValueError, IndexError, ValidationError) as error:
        raise InvalidLabelsError(
            f"the description of its labels is damaged ({type(error).__name__}: {error_line(error)})"
        ) from None


def as_labels(values: NDArray[Any]) -> NDArray[np.int32]:
    """Return whole numbers as int32.

    Raises
    ------
    InvalidLabelsError
        If they are no whole numbers, or do not fit.
    """
    if values.dtype.kind not in "iub":
        raise InvalidLabelsError(f"values of type {values.dtype}: labels are whole numbers")
    if values.size and (int(values.max()) > np.iinfo(np.int32).max or int(values.min()) < 0):
        raise InvalidLabelsError(f"labels from {values.min()} to {values.max()}: expected 0 to {np.iinfo(np.int32).max}")
    return values.astype(np.int32, copy=False)


def classes_of_values(labels: NDArray[np.int32], names: Mapping[int, str] | None = None) -> tuple[LabelClass, ...]:
    """Return a class for each value in `labels` above 0: its name in `names`, or its number."""
    names = names or {}
    return tuple(
        LabelClass(value=value, name=names.get(value, f"class {value}"), colour=colour_of(value)) for value in present(labels)
    )


def undescribed(labels: NDArray[Any], instances: bool, mpp: float | None, source: str) -> LabelMap:
    """Return labels that came without a description: their values are object numbers, or classes called by their number.

    Raises
    ------
    InvalidLabelsError
        If they are no labels, or more classes than class values there can be.
    """
    whole = as_labels(labels)
    if not instances and whole.size and int(whole.max()) > 65_535:
        raise InvalidLabelsError(f"a class of value {whole.max()}: at most 65535; read it as objects (instances)")
    classes = (LabelClass(value=1, name="object", colour=colour_of(1)),) if instances else classes_of_values(whole)
    return LabelMap(labels=whole, classes=classes, instances=instances, mpp=mpp, source=source)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _columns(columns: Mapping[str, list[Any]]) -> dict[str, NDArray[np.generic]]:
    return {name: _column(values) for name, values in columns.items()}


def _column(values: list[Any]) -> NDArray[np.generic]:
    if any(isinstance(value, str) for value in values):
        return np.asarray(["" if value is None else str(value) for value in values])
    return np.asarray([np.nan if value is None else value for value in values])


def _ranges(class_of: Mapping[int, int]) -> dict[str, list[list[int]]]:
    """Return per class the object numbers as [first, last] ranges: 50,000 nuclei of few classes stay short."""
    ranges: dict[str, list[list[int]]] = {}
    for label, value in sorted(class_of.items()):
        known = ranges.setdefault(str(int(value)), [])
        if known and known[-1][1] == label - 1:
            known[-1][1] = int(label)
        else:
            known.append([int(label), int(label)])
    return ranges


def _from_ranges(ranges: Mapping[str, list[list[int]]]) -> dict[int, int]:
    if sum(max(0, high - low + 1) for spans in ranges.values() for low, high in spans) > MOST_OBJECTS:
        raise ValueError(f"classes of more than {MOST_OBJECTS:,} objects")
    pairs = [(label, int(value)) for value, spans in ranges.items() for low, high in spans for label in range(low, high + 1)]
    return dict(sorted(pairs))
