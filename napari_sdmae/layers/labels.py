"""Label maps as napari layers and back; pure NumPy: neither napari nor torch is imported.

A Labels layer made here keeps in ``metadata["sdmae"]`` what a :class:`~napari_sdmae.labels.label_map.LabelMap` has beside its
labels (:mod:`napari_sdmae.labels.serialization`); the measurements are the layer's features.
Coordinates of layers are pixel centres, of label maps pixel corners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.labels.description import as_labels, undescribed
from napari_sdmae.labels.label_map import Colour, LabelClass, LabelMap
from napari_sdmae.labels.objects import present
from napari_sdmae.labels.serialization import METADATA_KEY, labels_from_metadata, metadata_of_labels
from napari_sdmae.layers.base import Field, LayerData, derived
from napari_sdmae.moved import renamed

LABELS = "segment/labels"
"""Key of the labels that replace each other; see :func:`~napari_sdmae.layers.base.derived`."""
CLEAR = (0.0, 0.0, 0.0, 0.0)
GREY = (0.6, 0.6, 0.6, 1.0)
MOST_CLASSES = 255
"""A layer of unknown origin with more labels than this holds objects, not classes."""
_MICROMETRES = {"nm": 1e-3, "nanometer": 1e-3, "µm": 1.0, "um": 1.0, "micrometer": 1.0, "mm": 1e3, "millimeter": 1e3}


def labels_layer(
    label_map: LabelMap,
    place: Field | Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    *,
    what: str = "labels",
    key: str = LABELS,
    name: str | None = None,
    **display: Any,
) -> LayerData:
    """Return `label_map` as a Labels layer in the colours of its classes.

    Parameters
    ----------
    label_map
        What is shown. Its origin and step count in pixels of the source.
    place
        Where: the field it was computed on, layer arguments (scale, translate …), or None: by its own scale and origin.
    provenance
        What made it, kept in the metadata.
    what
        Said after the image's name, for a field.
    key
        A later layer of the same source and key replaces it, for a field.
    name
        Name of the layer where `place` is no field.
    **display
        Further arguments of the layer.
    """
    shown: dict[str, Any] = {"colormap": colours(label_map), "features": label_features(label_map), "opacity": 0.6} | display
    about = dict(provenance or {}) | metadata_of_labels(label_map)
    if isinstance(place, Field):
        return derived(place, label_map.labels, what, key, about, kind="labels", **shown)
    title = name or "labels"
    attributes = {"name": title, "metadata": {METADATA_KEY: {"name": title} | about}}
    return label_map.labels, attributes | dict(own_place(label_map) if place is None else place) | shown, "labels"


def probability_layers(
    probabilities: NDArray[Any],
    channels: Sequence[str | int | LabelClass],
    label_map: LabelMap,
    place: Field | Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    *,
    key: str = "segment/probability",
) -> list[LayerData]:
    """Return one image from 0 to 1 per class, named ``<image> · P(class)``, hidden until somebody wants to see it.

    Parameters
    ----------
    probabilities
        (C, rows, columns): float in [0, 1], or uint8 with 255 = 1.
    channels
        What the C are: names, class values or classes.
    label_map
        Labels of the same pixels; gives names of class values, and the place where no other is given.
    place, provenance, key
        As in :func:`labels_layer`.

    Raises
    ------
    ValueError
        If there are not as many channels as probabilities.
    """
    if len(channels) != len(probabilities):
        raise ValueError(f"{len(probabilities)} probability maps and {len(channels)} classes: expected one for each")
    layers = []
    for one, values in zip(channels, probabilities, strict=True):
        title = one.name if isinstance(one, LabelClass) else one if isinstance(one, str) else label_map.class_named(int(one)).name
        scale = 255 if values.dtype == np.uint8 else 1
        array = values.astype(np.float32) / scale
        shown: dict[str, Any] = {"contrast_limits": (0.0, 1.0), "colormap": "magma", "visible": False, "blending": "translucent"}
        about = dict(provenance or {}) | {"class": title}
        if isinstance(place, Field):
            layers.append(derived(place, array, f"P({title})", f"{key}/{title}", about, **shown))
            continue
        attributes = {"name": f"P({title})", "metadata": {METADATA_KEY: {"name": f"P({title})"} | about}}
        layers.append((array, attributes | dict(own_place(label_map) if place is None else place) | shown, "image"))
    return layers


def colours(label_map: LabelMap) -> dict[int | None, tuple[float, ...]]:
    """Return napari's colours of labels: that of its class for each; others, which a person may paint, are grey."""
    known = label_map.class_of if label_map.instances else [one.value for one in label_map.classes]
    labels = {*present(label_map.labels), *known} - {0}
    shown = {int(label): _rgba(label_map.class_at(int(label)).colour) for label in labels}
    return {None: GREY, 0: CLEAR} | shown


def label_features(label_map: LabelMap) -> dict[str, NDArray[Any]]:
    """Return the table of a layer: ``index`` (the label), its class, and its measurements, which the status bar shows."""
    columns = {name: np.asarray(column) for name, column in label_map.measurements.items()}
    if "label" in columns:
        labels = columns["label"].astype(np.int64)
    elif label_map.instances:
        labels = np.array(present(label_map.labels), np.int64)
    else:
        labels = np.array(sorted(one.value for one in label_map.classes if one.value > 0), np.int64)
    names = np.array([label_map.class_at(int(label)).name for label in labels], dtype=object)
    return {"index": labels, "class": names} | {name: column for name, column in columns.items() if name != "class"}


def own_place(label_map: LabelMap) -> dict[str, Any]:
    """Return layer arguments by the label map's own scale and origin: in µm, or in pixels where the scale is not known."""
    mpp, unit = (1.0, "pixel") if label_map.mpp is None else (label_map.mpp, "µm")
    middle = [(corner + (label_map.step - 1) / 2) * mpp for corner in label_map.origin]
    return {"scale": (label_map.step * mpp,) * 2, "translate": tuple(middle), "units": (unit, unit)}


def layer_label_map(data: Any, attributes: Mapping[str, Any]) -> LabelMap:
    """Return the labels of any Labels layer: of ours with all it keeps, of a painted one with its labels as classes.

    Parameters
    ----------
    data
        The layer's data; of a multiscale layer the list of its levels.
    attributes
        The layer's arguments: metadata, features, scale, translate, units, colormap, as far as there are any.

    Raises
    ------
    ValueError
        If it is a stack of several planes, its pixels are no squares, or its values no labels.
    """
    labels = plane(data)
    known = attributes.get("metadata", {}).get(METADATA_KEY, {})
    table = {str(name): np.asarray(attributes["features"][name]) for name in attributes.get("features", {})}
    if "classes" in known:
        return labels_from_metadata(known, labels, _measurements(table))
    mpp, origin, step = place_of(attributes)
    many = len(present(labels)) > MOST_CLASSES or int(labels.max(initial=0)) > 65_535
    bare = undescribed(labels, many, mpp, str(attributes.get("name", "")))
    classes = bare.classes if many else tuple(_as_shown(one, table, attributes) for one in bare.classes)
    return LabelMap(
        labels=labels,
        classes=classes,
        instances=many,
        mpp=mpp,
        origin=origin,
        step=step,
        measurements=_measurements(table),
    )


def plane(data: Any) -> NDArray[np.int32]:
    """Return the labels (rows, columns) of a layer's data: of the largest level, without axes of one plane.

    Raises
    ------
    ValueError
        If there are several planes, or the values are no labels.
    """
    values = np.asarray(data[0] if isinstance(data, Sequence) else data)
    if values.ndim < 2 or values.size != np.prod(values.shape[-2:]):
        raise ValueError(f"labels of shape {values.shape}: expected one plane; take one slice of the stack as a layer")
    return as_labels(values.reshape(values.shape[-2:]))


def place_of(attributes: Mapping[str, Any]) -> tuple[float | None, tuple[float, float], float]:
    """Return µm per pixel, origin (row, column) and step of a layer that says nothing but scale, translate and units.

    In µm, its pixels are taken for full-resolution ones; in pixels, its scale is the step.

    Raises
    ------
    ValueError
        If its pixels are no squares.
    """
    scale = np.asarray(_or(attributes.get("scale"), (1.0, 1.0)), float)[-2:]
    translate = np.asarray(_or(attributes.get("translate"), (0.0, 0.0)), float)[-2:]
    if not np.isclose(scale[0], scale[1], rtol=0.01):
        raise ValueError(f"pixels of {scale[0]:g} × {scale[1]:g}: labels of square pixels can be exported only")
    factor = _micrometres(_or(attributes.get("units"), ("pixel",))[-1])
    if factor is not None:
        row, column = translate / scale
        return float(scale[1]) * factor, (float(row), float(column)), 1.0
    step = float(scale[1])
    row, column = translate - (step - 1) / 2
    return None, (float(row), float(column)), step


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _micrometres(unit: Any) -> float | None:
    """Return µm per unit, a word or one of pint's; None if it is no length."""
    if isinstance(unit, str):
        return _MICROMETRES.get(unit.replace("\u03bc", "µ").replace("\u00b5", "µ"))
    try:
        return float((1 * unit).to("micrometer").magnitude)
    except Exception:  # pint raises its own errors for pixels
        return None


def _measurements(table: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a layer's features as measurements; none if there is nothing but label and class."""
    measured = {name: column for name, column in table.items() if name not in ("index", "label", "class")}
    labels = table.get("index", table.get("label"))
    return {} if not measured or labels is None else {"label": labels.astype(np.int64)} | measured


def _as_shown(one: LabelClass, table: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]) -> LabelClass:
    """Return a class by the name in the layer's features and the colour that the layer gives it, where it has them."""
    named = {int(label): str(name) for label, name in zip(table.get("index", ()), table.get("class", ()), strict=False)}
    given = getattr(attributes.get("colormap"), "color_dict", {})
    colour: Colour = one.colour
    if one.value in given:
        red, green, blue = (round(float(share) * 255) for share in given[one.value][:3])
        colour = red, green, blue
    return LabelClass(value=one.value, name=named.get(one.value) or one.name, colour=colour)


def _rgba(colour: Colour) -> tuple[float, ...]:
    return (*(value / 255 for value in colour), 1.0)


def in_source(label_map: LabelMap, field: Field, source: str) -> LabelMap:
    """Return labels of a field, whose origin counts from its corner, as labels of the whole source."""
    origin = tuple(start + at * field.step for start, at in zip(field.origin, label_map.origin, strict=True))
    return replace(
        label_map, origin=(origin[0], origin[1]), step=label_map.step * field.step, mpp=field.source.mpp, source=source
    )


__getattr__ = renamed(__name__, mark="labels.serialization:metadata_of_labels")
