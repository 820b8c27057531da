"""The strokes layers of the viewer: found, made, watched, kept in the colours of the classes and above the answer."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_sdmae.labels.serialization import plugin_metadata
from napari_sdmae.layers.base import Field
from napari_sdmae.widgets.base.lifetime import connect_while_alive
from napari_sdmae.widgets.canvas.edit_labels import classes_of
from napari_sdmae.widgets.canvas.show_layers import active_layer, add_layer
from napari_sdmae.widgets.inputs.class_list import ClassList
from napari_sdmae.widgets.scribbles import strokes


class StrokeLayers(QObject):
    """Looks after all strokes layers.

    Emits ``painted`` after every change of strokes.

    Parameters
    ----------
    viewer
        The napari viewer.
    classes
        What is painted; strokes layers that are there already fill it.
    """

    painted = Signal()

    def __init__(self, viewer: Any, classes: ClassList, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._classes = classes
        self._watched: list[Labels] = []
        there = self.layers
        if there and classes_of(there[0]):
            classes.set(classes_of(there[0]))
        for layer in there:
            self.watch(layer)

    @property
    def layers(self) -> list[Labels]:
        """All strokes layers, the topmost first."""
        return strokes.strokes_layers(self._viewer)

    def counts(self) -> dict[int, int]:
        """Return the number of strokes per class value."""
        return strokes.stroke_counts(self.layers)

    def on_picture(self, field: Field) -> Labels | None:
        """Return the strokes layer on the picture of `field`: the active one, else the topmost; None if there is none."""
        mine = [layer for layer in self.layers if plugin_metadata(layer)["strokes_on"] == field.source.id]
        active = active_layer(self._viewer)
        return next((layer for layer in mine if layer is active), mine[0] if mine else None)

    def over(self, field: Field, whole: Field | None) -> Labels:
        """Return the strokes layer over `field`; a new one lies over the `whole` picture where that is no coarser."""
        found = strokes.find_strokes(self._viewer, field)
        if found is None:
            place = whole if whole is not None and whole.step == field.step else field
            found = add_layer(self._viewer, strokes.new_strokes(place, self._classes.classes))
        self.watch(found)
        return found

    def adopt(self, layer: Labels, field: Field) -> None:
        """Take a person's own Labels layer as strokes on the picture of `field`; its values join the classes.

        Raises
        ------
        ValueError
            If they are no strokes.
        """
        found = strokes.adopt(layer, field)
        counts, known = self.counts(), {one.value for one in found}
        others = [one for one in self._classes.classes if one.value in counts and one.value not in known]
        self._classes.set([*found, *others])
        self.watch(layer)

    def erase_class(self, value: int) -> None:
        """Take away all strokes of a class."""
        for layer in self.layers:
            strokes.erase_class(layer, value)

    def show_classes(self) -> None:
        """Show the strokes in the colours that the classes have now."""
        for layer in self.layers:
            strokes.show_classes(layer, self._classes.classes)

    def bring_to_top(self) -> None:
        """Put the strokes above all other layers, in the order they have."""
        top = len(self._viewer.layers) - 1
        for layer in reversed(self.layers):
            if self._viewer.layers.index(layer) < top:
                self._viewer.layers.move(self._viewer.layers.index(layer), top + 1)

    def watch(self, layer: Labels) -> None:
        """Tell when somebody paints in `layer`."""
        if any(layer is one for one in self._watched):
            return
        self._watched.append(layer)
        strokes.show_classes(layer, self._classes.classes)
        for name in ("paint", "labels_update", "data"):
            connect_while_alive(self, getattr(layer.events, name), lambda _event=None: self.painted.emit())
