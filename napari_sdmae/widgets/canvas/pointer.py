"""The mouse in the canvas moves the query patch; outside of the field, and with other tools, napari does as always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_sdmae.widgets.base.lifetime import listen_while_alive


class Pointer:
    """Reports where in the field a person clicks, drags or, when wished, merely points.

    Parameters
    ----------
    widget
        The listening ends with it.
    viewer
        The napari viewer.
    move
        Called with the world position; returns whether it lies in the field.
    """

    def __init__(self, widget: QWidget, viewer: Any, move: Callable[[Any], bool]) -> None:
        self._viewer = viewer
        self._move = move
        self.active = False
        self.hover = False
        listen_while_alive(widget, viewer.mouse_drag_callbacks, self._drag)
        listen_while_alive(widget, viewer.mouse_move_callbacks, self._hover)

    def _free(self, event: Any) -> bool:
        """Whether no other tool (painting, drawing shapes, adding points) and no modifier key is in use."""
        layer = self._viewer.layers.selection.active
        return self.active and not event.modifiers and (layer is None or str(layer.mode) == "pan_zoom")

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1 or not self._free(event) or not self._move(event.position):
            return
        camera = viewer.scene.camera
        panning, camera.mouse_pan = camera.mouse_pan, False  # the drag moves the patch, not the picture
        try:
            yield
            while event.type == "mouse_move":
                self._move(event.position)
                yield
        finally:
            camera.mouse_pan = panning

    def _hover(self, _viewer: Any, event: Any) -> None:
        if self.hover and self._free(event):
            self._move(event.position)
