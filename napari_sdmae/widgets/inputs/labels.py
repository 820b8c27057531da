"""Choose the labels that are measured, corrected and exported."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_sdmae.labels.serialization import plugin_metadata
from napari_sdmae.widgets.base.dock import narrow_combo
from napari_sdmae.widgets.base.lifetime import connect_while_alive
from napari_sdmae.widgets.inputs.image import fill_box


class LabelsInput(QObject):
    """A box with the Labels layers of the viewer, the topmost first.

    Emits ``changed`` when another layer is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.box = narrow_combo("The labels to measure, correct and export: an overlay, or any Labels layer.")
        for event in ("inserted", "removed", "reordered", "renamed"):
            connect_while_alive(self, getattr(viewer.layers.events, event), self.refresh)
        self.refresh()
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())

    @property
    def layer(self) -> Labels | None:
        """The chosen layer, or None."""
        layer: Labels | None = self.box.currentData()
        return layer

    def choose(self, layer: Labels) -> None:
        """Choose `layer`."""
        layers = [self.box.itemData(index) for index in range(self.box.count())]
        self.box.setCurrentIndex(next(index for index, one in enumerate(layers) if one is layer))

    def refresh(self, _event: Any = None) -> None:
        """Look at the layers again."""
        fill_box(self.box, [(layer.name, layer) for layer in reversed(self._viewer.layers) if _usable(layer)])


def _usable(layer: Any) -> bool:
    """Tell whether `layer` is a Labels layer that says what is true."""
    return isinstance(layer, Labels) and not plugin_metadata(layer).get("withdrawn", False)
