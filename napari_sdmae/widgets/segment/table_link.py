"""The table and the canvas show the same object: a row brings it into view, a click in the picture brings its row.

The selected object is marked by a ring in a Points layer: napari's *show selected* hides all other labels, and a Shapes layer
would be offered as a region of interest in every dock. Row and object are linked by label, not by row number, so that sorting
changes nothing. 50,000 rows of 13 columns appear in less than 1 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_sdmae.layers.base import Field, LayerData, Source, attributes, placed
from napari_sdmae.widgets.base.lifetime import connect_while_alive, listen_while_alive, when_destroyed
from napari_sdmae.widgets.canvas.edit_labels import has_objects, plane_of
from napari_sdmae.widgets.canvas.show_layers import find_layer, update_layers
from napari_sdmae.widgets.segment.measurement_table import MeasurementTable

MARKER = "chosen object"
SMALLEST_ON_SCREEN = 24.0  # px; a nucleus that is smaller cannot be judged, so the view moves in
Extent = tuple[tuple[float, float], tuple[float, float]]


class TableLink(QObject):
    """Keeps one Labels layer and the table of its features on the same object.

    Emits ``object_chosen(int)`` with the label that a row or a click has chosen.
    """

    object_chosen = Signal(int)

    def __init__(self, viewer: Any, table: MeasurementTable, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._table = table
        self.layer: Labels | None = None
        table.label_chosen.connect(self.show_object)
        listen_while_alive(table, viewer.mouse_drag_callbacks, self._click)
        connect_while_alive(table, viewer.layers.events.removed, self._removed)
        when_destroyed(table, self._disconnect)

    def watch(self, layer: Labels | None) -> None:
        """Show the features of `layer` from now on; None for an empty table."""
        if layer is not self.layer:
            self._disconnect()
            self.hide_marker()
            self.layer = layer
            if layer is not None:
                layer.events.features.connect(self._fill)
                layer.events.selected_label.connect(self._selected)
        self._fill()

    def refresh(self) -> None:
        """Show the features again."""
        self._fill()

    def show_object(self, label: int) -> None:
        """Select the object `label`, move the view onto it and mark it."""
        layer = self.layer
        if layer is None:
            return
        layer.selected_label = label
        extent = self._mark(layer, label)
        if extent is not None:
            bring_into_view(self._viewer, layer, extent)
        self.object_chosen.emit(label)

    def _mark(self, layer: Labels, label: int) -> Extent | None:
        """Put the ring around the object `label`, and return where that is; of labels of classes there is none."""
        extent = extent_of(plane_of(layer), label) if has_objects(layer) else None
        if extent is None:
            self.hide_marker()
        else:
            update_layers(self._viewer, [marker(layer, extent)])[0].visible = True
        return extent

    def hide_marker(self) -> None:
        """Hide the frame around the chosen object."""
        found = None if self.layer is None else find_layer(self._viewer, f"{self.layer.unique_id}/{MARKER}")
        if found is not None:
            found.visible = False

    def pick(self, position: Any) -> int:
        """Choose the object at the world `position` and show its row; return its label, 0 if there is none."""
        layer = self.layer
        if layer is None:
            return 0
        label = label_at(layer, position)
        if label:
            layer.selected_label = label
            self._table.choose(label)
            self._mark(layer, label)
            self.object_chosen.emit(label)
        return label

    def _click(self, _viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1 or event.modifiers or not self._free():
            return
        yield
        dragged = False
        while event.type == "mouse_move":
            dragged = True
            yield
        if not dragged:
            self.pick(event.position)

    def _free(self) -> bool:
        """Whether no tool such as the brush is in use."""
        active = self._viewer.layers.selection.active
        return active is None or str(active.mode) == "pan_zoom"

    def _fill(self, _event: Any = None) -> None:
        layer = self.layer
        if layer is None:
            self._table.show_table(pd.DataFrame())
            return
        self._table.show_table(layer.features, *(("object", "objects") if has_objects(layer) else ("class", "classes")))
        if has_objects(layer):
            self._table.choose(int(layer.selected_label))

    def _selected(self, _event: Any = None) -> None:
        if self.layer is not None and self._table.chosen != self.layer.selected_label:
            self._table.choose(int(self.layer.selected_label))
            self.hide_marker()

    def _removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.watch(None)

    def _disconnect(self) -> None:
        if self.layer is not None:
            self.layer.events.features.disconnect(self._fill)
            self.layer.events.selected_label.disconnect(self._selected)


def label_at(layer: Labels, position: Any) -> int:
    """Return the label of `layer` at a world position, 0 outside; also of a layer that is hidden under boxes."""
    data = layer.data[0] if layer.multiscale else layer.data
    row, column = (round(float(at)) for at in layer.world_to_data(position)[-2:])
    inside = 0 <= row < data.shape[-2] and 0 <= column < data.shape[-1]
    return int(np.asarray(data[(*(0,) * (data.ndim - 2), row, column)])) if inside else 0


def extent_of(labels: NDArray[Any], label: int) -> Extent | None:
    """Return the first and last (row, column) of the pixels with `label`, None if there are none."""
    found = labels == label
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    if not len(rows):
        return None
    return (float(rows[0]), float(columns[0])), (float(rows[-1]), float(columns[-1]))


def marker(layer: Labels, extent: Extent) -> LayerData:
    """Return a ring around the pixels of `extent` of `layer`, on its place."""
    field = Field(Source.of(layer), (0, 0), plane_of(layer).shape)
    low, high = np.array(extent)
    centre = np.pad((low + high) / 2, (len(field.source.scale) - 2, 0))[np.newaxis]
    display = {
        "size": float(np.hypot(*(high - low + 1))) * 1.15,
        "symbol": "disc",
        "face_color": "transparent",
        "border_color": "#00e5ff",
        "border_width": 0.06,
        "border_width_is_relative": True,
        "opacity": 1.0,
    }
    return centre, attributes(field, MARKER, MARKER, {}) | placed(field) | display, "points"


def bring_into_view(viewer: Any, layer: Labels, extent: Extent) -> None:
    """Move the view onto `extent` of `layer`; move in where it would be too small to judge."""
    low, high = (np.pad(np.array(corner), (layer.ndim - 2, 0)) for corner in extent)
    centre = np.asarray(layer.data_to_world((low + high) / 2))[-2:]
    size = float(np.max(np.abs(np.asarray(layer.data_to_world(high + 0.5)) - layer.data_to_world(low - 0.5))[-2:]))
    camera = viewer.scene.camera
    camera.center = (*camera.center[:-2], *centre)
    if size * camera.zoom < SMALLEST_ON_SCREEN:
        camera.zoom = SMALLEST_ON_SCREEN * 2 / max(size, 1e-9)
