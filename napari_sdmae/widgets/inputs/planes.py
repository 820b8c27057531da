"""What is taken of a layer that is not one picture in colour: said, and chosen where it is in doubt."""

from __future__ import annotations

from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_sdmae.widgets.base.dock import set_text
from napari_sdmae.widgets.base.lifetime import connect_while_alive
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.canvas.picture import RegionError, is_certain, mean, meant, merged, picture_of, taken_text, trio_of
from napari_sdmae.widgets.canvas.show_layers import add_layer
from napari_sdmae.widgets.forms.editors import Choice

PLANES = {"colour": "Planes are colours", "grey": "Planes are grey"}
ABOUT_PLANES = "Whether the 3 or 4 planes of this layer are the colours of one picture, or pictures in grey."
MERGE = "is one colour of a picture in three layers. Press Merge to RGB, or give it the colormap gray to look at it alone."
MAYBE = "If the three layers of this name are the red, green and blue of one picture, press Merge to RGB."


class PlanesInput(QWidget):
    """Below the box of images: how an axis of 3 or 4 is meant, a button that merges split colours, and what is taken.

    Emits ``changed`` when a person says how an axis is meant, and ``merged`` with the new layer.
    """

    changed = Signal()
    merged = Signal(object)

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Any = None
        self._watched: set[str] = set()
        self.box = Choice(PLANES, self, tooltip=ABOUT_PLANES)
        self.merge = QPushButton("Merge to RGB", self)
        self.merge.setToolTip("Make one picture in colour of the three layers; they stay, hidden.")
        self.note = text_label(parent=self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for widget in (self.box, self.merge, self.note):
            column.addWidget(widget)
        self.box.activated.connect(lambda _: self._choose())
        self.merge.clicked.connect(lambda: self.merge_trio())
        connect_while_alive(self, viewer.dims.events.current_step, lambda _event=None: self._tell())
        self.show_layer(None)

    def show_layer(self, layer: Any) -> None:
        """Say what is taken of `layer`."""
        if layer is not self._layer:
            self._layer = layer
            if layer is not None and str(layer.unique_id) not in self._watched:
                self._watched.add(str(layer.unique_id))
                connect_while_alive(self, layer.events.colormap, lambda _event=None: self._tell())
        self._tell()

    def problem(self) -> str:
        """Return why the layer cannot be taken as it is, or an empty text."""
        return f"“{self._layer.name}” {MERGE}" if is_certain(self._trio()) else ""

    def merge_trio(self) -> None:
        """Add the picture in colour that the three layers are, and hide them."""
        trio = self._trio()
        if trio:
            data, attributes = merged(trio)
            layer = add_layer(self._viewer, Image(data, **attributes))
            for one in trio:
                one.visible = False
            self.merged.emit(layer)

    def _trio(self) -> list[Any]:
        return [] if self._layer is None else trio_of(self._layer, [one for one in self._viewer.layers if isinstance(one, Image)])

    def _choose(self) -> None:
        mean(self._layer, self.box.get())
        self._tell()
        self.changed.emit()

    def _tell(self) -> None:
        layer, trio = self._layer, self._trio()
        self.merge.setVisible(bool(trio))
        self.box.hide()
        if layer is None:
            set_text(self.note, "")
        else:
            set_text(self.note, self.problem() or " ".join(part for part in (self._taken(layer), MAYBE if trio else "") if part))
        self.setVisible(bool(self.note.text()))

    def _taken(self, layer: Any) -> str:
        try:
            picture = picture_of(layer)
        except RegionError as error:
            return str(error)
        self.box.setVisible(picture.doubtful)
        self.box.set(meant(layer))
        return taken_text(layer, picture, picture.index(layer.world_to_data(self._viewer.dims.point)))
