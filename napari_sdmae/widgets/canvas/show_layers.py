"""LayerData into the viewer: replaced by id, so that what a person changed survives."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from napari.layers import Image, Labels, Layer, Points, Shapes

from napari_sdmae.labels.serialization import METADATA_KEY, plugin_metadata
from napari_sdmae.layers.base import LayerData
from napari_sdmae.widgets.canvas.edit_labels import detach_corrected, is_corrected

PLACE = ("scale", "translate", "rotate", "shear", "affine")
OUTDATED = " (out of date)"
Limits = tuple[float, float]
L = TypeVar("L", bound=Layer)
KINDS = {"image": Image, "labels": Labels, "points": Points, "shapes": Shapes}


def update_layers(viewer: Any, layers: Sequence[LayerData]) -> list[Layer]:
    """Show `layers`; one that is already there is updated in place, others are put on top.

    Name, contrast limits, colormap, opacity and visibility of a layer that is there are the person's;
    name, contrast limits and opacity follow the new data only while nobody has changed them.
    The selection stays as it was.
    """
    selected, active = set(viewer.layers.selection), active_layer(viewer)
    shown = [_show(viewer, data, attributes, kind) for data, attributes, kind in layers]
    _put_in_order(viewer, shown)
    if active is not None and active_layer(viewer) is not active:
        viewer.layers.selection = selected & set(viewer.layers)
        viewer.layers.selection.active = active
    return shown


def add_layer(viewer: Any, layer: L) -> L:
    """Put `layer` on top and return it: the layer itself.

    A dock widget that is opened from napari's menu is given a stand-in of the viewer, whose methods and attributes return
    stand-ins of layers. They are equal to their layers, but not the same object.
    """
    viewer.add_layer(layer)
    return layer


def active_layer(viewer: Any) -> Layer | None:
    """Return the active layer itself, not a stand-in (see :func:`add_layer`), or None."""
    active = viewer.layers.selection.active
    return next((layer for layer in viewer.layers if layer == active), None)


def _put_in_order(viewer: Any, shown: Sequence[Layer]) -> None:
    """Bring the layers into the order they were given in, from below, moving as few as possible."""
    for below, above in reversed(list(pairwise(shown))):
        if viewer.layers.index(below) > viewer.layers.index(above):
            viewer.layers.move(viewer.layers.index(below), viewer.layers.index(above))


def look_at(viewer: Any, layers: Iterable[Layer]) -> None:
    """Move and zoom the view so that it shows `layers`."""
    extents = np.array([layer.extent.world[:, -2:] for layer in layers])
    low, high = extents[:, 0].min(axis=0), extents[:, 1].max(axis=0)
    camera = viewer.scene.camera
    camera.center = (*camera.center[:-2], *((low + high) / 2))
    camera.zoom = float(0.95 * np.min(np.asarray(viewer.canvas.size, float) / np.maximum(high - low, 1e-9)))


def find_layer(viewer: Any, identity: str) -> Layer | None:
    """Return the layer whose ``metadata["sdmae"]["id"]`` is `identity`, or None."""
    return next((layer for layer in viewer.layers if plugin_metadata(layer).get("id") == identity), None)


def is_shown(layer: Layer | None) -> bool:
    """Tell whether `layer` is there and says what is true."""
    return layer is not None and not plugin_metadata(layer).get("withdrawn", False)


def mark_stale(viewer: Any, prefix: str, keep: Collection[str] = ()) -> None:
    """Hide and mark the layers whose id starts with `prefix` and is not in `keep`: they no longer say what is true.

    Labels that a person corrected are no answer any more: they become a layer of their own. The others come back in place with
    the next answer, or by :func:`restore_layers`. They are not removed: napari 0.9 on software OpenGL crashes when several
    image layers are removed and others added (docs/decisions/0064).
    """
    for layer in viewer.layers:
        mark = plugin_metadata(layer)
        identity = mark.get("id", "")
        if not identity.startswith(prefix) or identity in keep or mark.get("withdrawn"):
            continue
        if isinstance(layer, Labels) and is_corrected(layer):
            detach_corrected(layer)
            continue
        mark = mark | {"withdrawn": True, "visible": layer.visible}
        layer.visible = False
        _rename(layer, mark, mark["name"] + OUTDATED)


def restore_layers(viewer: Any, identities: Collection[str]) -> None:
    """Show the layers `identities` again where they were withdrawn: their answer is true after all."""
    for layer in viewer.layers:
        mark = plugin_metadata(layer)
        if mark.get("id") in identities and mark.get("withdrawn"):
            mark = {name: value for name, value in mark.items() if name not in ("withdrawn", "visible")}
            layer.visible = layer.metadata[METADATA_KEY].get("visible", True)
            _rename(layer, mark, mark["name"].removesuffix(OUTDATED))


def _rename(layer: Layer, mark: dict[str, Any], name: str) -> None:
    """Keep `mark` with the layer, and call it `name` unless a person has called it otherwise."""
    if layer.name == mark["name"]:
        layer.name = name
        mark = mark | {"name": layer.name}
    layer.metadata = {**layer.metadata, METADATA_KEY: mark}


def next_limits(current: Limits, given: Limits | None, new: Limits | None) -> Limits | None:
    """Return the contrast limits to set: `new`, unless a person has changed those once `given`; None for no change."""
    if new is None or given is None or tuple(new) == tuple(current):
        return None
    return new if np.allclose(current, given, rtol=1e-5) else None


def _show(viewer: Any, data: Any, attributes: dict[str, Any], kind: str) -> Layer:
    layer = find_layer(viewer, attributes["metadata"][METADATA_KEY]["id"])
    if layer is not None and not _same_kind(layer, data, attributes, kind):
        viewer.layers.remove(layer)
        layer = None
    if layer is None:
        layer = add_layer(viewer, Layer.create(data, attributes, kind))
        layer.metadata = _mark(layer, attributes)
    else:
        _update(layer, data, attributes)
    return layer


def _same_kind(layer: Layer, data: Any, attributes: dict[str, Any], kind: str) -> bool:
    if not isinstance(layer, KINDS[kind]):
        return False
    if kind == "points":
        return bool(layer.data.shape[1] == data.shape[1])
    if kind == "shapes":
        return not len(data) or bool(layer.ndim == np.shape(data[0])[1])
    return bool(layer.data.ndim == data.ndim and getattr(layer, "rgb", False) == attributes.get("rgb", False))


def _update(layer: Layer, data: Any, attributes: dict[str, Any]) -> None:
    before = layer.metadata[METADATA_KEY]
    untouched = layer.name == before["name"]
    visible = bool(before.get("visible", True)) if before.get("withdrawn") else layer.visible
    layer.visible = True  # of a hidden layer napari keeps the view of the old data: fewer points raise an IndexError
    for name in PLACE:
        _set_changed(layer, name, attributes[name]) if name in attributes else None
    layer.data = [(one, attributes["shape_type"]) for one in data] if "shape_type" in attributes and len(data) else data
    if isinstance(layer, Points):
        layer.size = attributes["size"]
    if isinstance(layer, Labels | Shapes):
        _set_meaning(layer, attributes)
    limits = next_limits(tuple(getattr(layer, "contrast_limits", ())), before.get("limits"), attributes.get("contrast_limits"))
    if limits is not None:
        layer.contrast_limits_range = (min(limits[0], 0.0), limits[1])
        layer.contrast_limits = limits
    if before.get("opacity") == layer.opacity:
        layer.opacity = attributes.get("opacity", layer.opacity)
    if untouched:
        layer.name = attributes["name"]
    layer.visible = visible
    layer.metadata = _mark(layer, attributes, None if untouched else before["name"])


def _set_meaning(layer: Labels | Shapes, attributes: dict[str, Any]) -> None:
    """Set colours and features, which belong to the data, and forget the strokes that could be undone in the old."""
    for name in ("features", "colormap", "edge_color"):
        if name in attributes and (name != "edge_color" or len(layer.data)):  # of no shapes there is no colour to set
            setattr(layer, name, attributes[name])
    if isinstance(layer, Labels) and layer.editable:
        layer.editable = False  # the only public way to empty the history: napari would undo old strokes in the new labels
        layer.editable = True


def _set_changed(layer: Layer, name: str, value: Any) -> None:
    current = getattr(layer, name)
    if not np.array_equal(getattr(current, "affine_matrix", current), value):
        setattr(layer, name, value)


def _mark(layer: Layer, attributes: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    """Return the metadata, with the name, contrast limits and opacity that were given automatically.

    napari changes a name that is taken, so the name is read back.
    """
    mark = attributes["metadata"][METADATA_KEY] | {"name": layer.name if name is None else name}
    if "opacity" in attributes:
        mark["opacity"] = attributes["opacity"]
    if "contrast_limits" in attributes:
        mark["limits"] = tuple(attributes["contrast_limits"])
    return {**layer.metadata, METADATA_KEY: mark}
