"""What a person does to labels: new objects, other classes, parts that become objects. Works on a napari Labels layer.

Which label means what is kept in ``metadata["sdmae"]``: ``classes``, ``instances`` and ``class_of`` (of instances: the class
value of each object); see :mod:`napari_sdmae.layers.labels`.

Labels are corrected in an ordinary Labels layer with napari's own brush, fill and Ctrl+Z. napari 0.9.2 emits events for
strokes, but of an undo only that the layer is drawn anew; so any event starts a pause of 0.8 s, after which a checksum of
labels and classes tells whether something changed (13 ms for 4096 × 4096 labels). Strokes that were undone are no correction.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray
from scipy.ndimage import label as connected

from napari_sdmae.labels.label_map import LabelClass, colour_of
from napari_sdmae.labels.serialization import class_of_in, classes_in, plugin_metadata, update_metadata

SHOWN = "shown"
EIGHT = np.ones((3, 3), int)
"""Pixels that touch at a corner are one part, as a person sees them."""


def has_meaning(layer: Labels) -> bool:
    """Tell whether the labels of `layer` are of known classes."""
    return bool(plugin_metadata(layer).get("classes"))


def has_objects(layer: Labels) -> bool:
    """Tell whether each label is one object, not a class."""
    return bool(plugin_metadata(layer).get("instances", False))


def classes_of(layer: Labels) -> tuple[LabelClass, ...]:
    """Return the classes that `layer` knows."""
    return classes_in(plugin_metadata(layer))


def class_value(layer: Labels, label: int) -> int:
    """Return the class value of a label; of an object without one, that of the first class."""
    if not has_objects(layer):
        return label
    known = class_of_in(plugin_metadata(layer))
    classes = classes_of(layer)
    return known.get(label, classes[0].value if classes else 1)


def signature(layer: Labels) -> int:
    """Return a number that is another one whenever a label or an object's class is: 13 ms for 4096 × 4096 labels."""
    class_of = plugin_metadata(layer).get("class_of", {})
    pairs = np.stack([np.fromiter(some, np.int64, len(class_of)) for some in (class_of.keys(), class_of.values())])
    classes = np.ascontiguousarray(pairs[:, np.argsort(pairs[0])])
    return zlib.crc32(np.ascontiguousarray(plane_of(layer)).data, zlib.crc32(classes.data))


def remember_original(layer: Labels) -> None:
    """Remember the labels as they came, to tell later whether a person has changed them."""
    update_metadata(layer, **{SHOWN: signature(layer)})


def is_corrected(layer: Labels) -> bool:
    """Tell whether a person has changed the labels since they came; a stroke that was undone is none."""
    shown = plugin_metadata(layer).get(SHOWN)
    return shown is not None and shown != signature(layer)


def detach_corrected(layer: Labels) -> None:
    """Make corrected labels a layer of their own, which no later answer replaces."""
    layer.name = f"{layer.name} (corrected)"
    update_metadata(layer, id=f"corrected/{layer.unique_id}", name=layer.name)


def plane_of(layer: Labels) -> NDArray[Any]:
    """Return the labels (rows, columns) of a layer that shows one plane; a view, not a copy."""
    data = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    return data.reshape(data.shape[-2:]) if data.size == np.prod(data.shape[-2:]) else data[(0,) * (data.ndim - 2)]


def new_object(layer: Labels, value: int) -> int:
    """Return a label that is not in use yet, made an object of class `value` and chosen to paint with."""
    used = [int(plane_of(layer).max(initial=0)), *class_of_in(plugin_metadata(layer))]
    label = max(used) + 1
    set_class(layer, label, value)
    layer.selected_label = label
    return label


def set_class(layer: Labels, label: int, value: int) -> None:
    """Say that the object `label` is of class `value`, and give it that class's colour."""
    update_metadata(layer, class_of=class_of_in(plugin_metadata(layer)) | {label: value})
    _colour(layer, {label: value})


def ensure_visible(layer: Labels, label: int) -> None:
    """Make sure that painting with `label` can be seen: napari leaves labels that a colormap does not list transparent."""
    if label and isinstance(layer.colormap, DirectLabelColormap) and label not in layer.colormap.color_dict:
        if has_objects(layer):
            set_class(layer, label, class_value(layer, label))
        else:
            _colour(layer, {label: label})


def split_object(layer: Labels, label: int) -> list[int]:
    """Make every separate part of the object `label` but its largest an object of its own; return the new labels.

    Parts are pixels that do not touch, not even at a corner: a person erases a line, then splits. It can be undone.
    """
    plane = plane_of(layer)
    parts, count = connected(plane == label, EIGHT)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    made = []
    value = class_value(layer, label)
    for part in np.argsort(-sizes, kind="stable")[1:] + 1:
        number = new_object(layer, value)
        rows, columns = np.nonzero(parts == part)
        leading = tuple(np.zeros_like(rows) for _ in range(layer.ndim - 2))
        layer.data_setitem((*leading, rows, columns), number)
        made.append(number)
    layer.selected_label = label
    return made


def _colour(layer: Labels, values: dict[int, int]) -> None:
    """Show labels in the colours of their class values, the others as they are."""
    if not isinstance(layer.colormap, DirectLabelColormap):
        return
    colours = {one.value: one.colour for one in classes_of(layer)}
    new = {label: np.array([*(colours.get(value) or colour_of(value)), 255]) / 255 for label, value in values.items()}
    layer.colormap = DirectLabelColormap(color_dict={**layer.colormap.color_dict, **new})
