"""Choose an image layer, and which part of it.

What is offered is ours: napari's own choices for its layer types look for the window above the box, where there is none while a
dock is built, and offer pictures that this plugin derived as well.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from napari.layers import Image, Layer, Shapes
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sdmae.labels.serialization import plugin_metadata
from napari_sdmae.widgets.base.lifetime import connect_while_alive
from napari_sdmae.widgets.canvas.command_line import NoCommandLine
from napari_sdmae.widgets.canvas.layer_region import Box, ImageRegion, RegionError, bounding_box, read_region
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.forms.value_widgets import ChoiceValue
from napari_sdmae.widgets.inputs.planes import PlanesInput

WHOLE, VIEW = "Whole picture", "Current view"


def is_source(layer: Layer) -> bool:
    """Tell whether `layer` is a picture of its own, not one that this plugin derived from another."""
    return isinstance(layer, Image) and "id" not in plugin_metadata(layer)


class ImageInput(QObject):
    """Two boxes for a form: the image layer, and the whole picture, the current view or a rectangle of a Shapes layer.

    Emits ``changed`` when another layer or region is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._taken: ImageRegion | None = None
        self.layer_box = Choice(tooltip="The picture, grey or RGB. Of a stack, the current slice.")
        self.region_box = Choice(tooltip="Part of the picture. Of a Shapes layer, the selected rectangle, or else the last.")
        self._layers = ChoiceValue(self.layer_box, self._pictures, annotation=Image)
        self._regions = ChoiceValue(self.region_box, self._parts)
        self.planes = PlanesInput(viewer)
        self._image = QWidget()
        column = QVBoxLayout(self._image)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.layer_box, self.planes):
            column.addWidget(widget)
        for event in ("inserted", "removed", "reordered", "renamed"):
            connect_while_alive(self, getattr(viewer.layers.events, event), self._refresh)
        self._refresh()
        self.planes.changed.connect(self._change)
        self.planes.merged.connect(self.choose)
        for choice in (self._layers, self._regions):
            choice.changed.connect(lambda _: self._change())

    @property
    def rows(self) -> list[tuple[str, QWidget]]:
        """Titles and boxes, for a form."""
        return [("Image", self._image), ("Region", self.region_box)]

    @property
    def layer(self) -> Any:
        """The chosen image layer, or None."""
        return self._layers.value

    @property
    def file(self) -> str:
        """The file the chosen layer was read from, or an empty text."""
        return self.file_of(self.layer)

    @staticmethod
    def file_of(layer: Any) -> str:
        """Return the file `layer` was read from, or an empty text."""
        return str(plugin_metadata(layer).get("file") or layer.source.path or "") if layer is not None else ""

    def choose(self, layer: Layer) -> None:
        """Choose `layer`."""
        self._layers.value = layer

    def take(self, model_mpp: float | None = None) -> ImageRegion:
        """Return the chosen part; see :func:`napari_sdmae.widgets.canvas.layer_region.read_region`.

        Raises
        ------
        RegionError
            If there is no usable picture or region; the message says what to do.
        """
        self._taken = self._choose(model_mpp)
        return self._taken

    def repeated(self, model_mpp: float | None = None) -> ImageRegion:
        """Return what a command should repeat: the whole picture, or the part that was taken last.

        Raises
        ------
        NoCommandLine
            If there is none: a view or rectangle may be moved until it is taken.
        """
        try:
            taken = self._choose(model_mpp) if self._regions.value == WHOLE else self._taken
        except RegionError as error:
            raise NoCommandLine(f"No command: {error}") from None
        if taken is None:
            raise NoCommandLine("The command appears with the result.")
        return taken

    def _change(self) -> None:
        self._taken = None
        self.planes.show_layer(self.layer)
        self.changed.emit()

    def _choose(self, model_mpp: float | None) -> ImageRegion:
        layer = self.layer
        if layer is None:
            raise RegionError("Open a picture first, for example with File > Open Sample > SD-MAE.")
        if wrong := self.planes.problem():
            raise RegionError(wrong)
        dims = self._viewer.dims
        if dims.ndisplay != 2 or tuple(dims.displayed) != (dims.ndim - 2, dims.ndim - 1):
            raise RegionError("Show the picture in 2D with its rows and columns (buttons below the layer list).")
        return read_region(layer, dims.point, self._region(layer), model_mpp)

    def _region(self, layer: Any) -> Box | None:
        region = self._regions.value
        if region == WHOLE:
            return None
        corners = self._view_corners() if region == VIEW else shape_corners(region)
        return bounding_box(np.array([layer.world_to_data(corner) for corner in corners]))

    def _view_corners(self) -> list[Any]:
        """World coordinates of the corners of what is on screen."""
        camera, size = self._viewer.scene.camera, np.asarray(self._viewer.canvas.size, float)
        half = size / camera.zoom / 2
        middle = np.asarray(camera.center, float)[-2:]
        leading = list(self._viewer.dims.point[:-2])
        return [leading + list(middle + half * sign) for sign in product((-1, 1), repeat=2)]

    def _refresh(self, _event: Any = None) -> None:
        self._layers.reset_choices()
        self.planes.show_layer(self.layer)
        self._regions.reset_choices()

    def _pictures(self) -> list[tuple[str, Any]]:
        return [(layer.name, layer) for layer in reversed(self._viewer.layers) if is_source(layer)]

    def _parts(self) -> list[tuple[str, Any]]:
        shapes = [(layer.name, layer) for layer in self._viewer.layers if isinstance(layer, Shapes)]
        return [(WHOLE, WHOLE), (VIEW, VIEW), *shapes]


def shape_corners(layer: Any) -> list[Any]:
    """Return the world coordinates of the outline of the layer's selected shape, else its last.

    Raises
    ------
    RegionError
        If the layer has no shape.
    """
    if not layer.data:
        raise RegionError(f"Draw a rectangle in the layer “{layer.name}” first.")
    chosen = max(layer.selected_data, default=len(layer.data) - 1)
    return [layer.data_to_world(corner) for corner in layer.data[chosen]]
