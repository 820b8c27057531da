"""Choose the labels that are measured, corrected and exported."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_sdmae.widgets.base.lifetime import connect_while_alive
from napari_sdmae.widgets.canvas.show_layers import is_shown
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.forms.value_widgets import ChoiceValue


class LabelsInput(QObject):
    """A box with the Labels layers of the viewer, the topmost first.

    Emits ``changed`` when another layer is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.box = Choice(tooltip="The labels to measure, correct and export: an overlay, or any Labels layer.")
        self._layers = ChoiceValue(self.box, self._offered, annotation=Labels)
        for event in ("inserted", "removed", "reordered", "renamed"):
            connect_while_alive(self, getattr(viewer.layers.events, event), self.refresh)
        self._layers.changed.connect(lambda _: self.changed.emit())

    @property
    def layer(self) -> Labels | None:
        """The chosen layer, or None."""
        layer: Labels | None = self._layers.value
        return layer

    def choose(self, layer: Labels) -> None:
        """Choose `layer`."""
        self._layers.value = layer

    def refresh(self, _event: Any = None) -> None:
        """Look at the layers again."""
        self._layers.reset_choices()

    def _offered(self) -> list[tuple[str, Any]]:
        return [(layer.name, layer) for layer in reversed(self._viewer.layers) if isinstance(layer, Labels) and is_shown(layer)]
