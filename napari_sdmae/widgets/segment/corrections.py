"""Correct labels by painting: which class or object the brush paints, new objects, other classes, undo."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QSize, QTimer, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_sdmae.humanize import several
from napari_sdmae.widgets.base.dock import form_layout, set_text
from napari_sdmae.widgets.base.lifetime import when_destroyed
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.canvas import edit_labels as edit
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.forms.path_edit import FolderEdit

PAUSE = 800
"""Milliseconds without a stroke after which the change is told: measuring after every stroke would never end."""


class CorrectionPanel(QWidget):
    """Tools for one Labels layer.

    Emits ``touched`` with the first stroke, ``edited`` with the layer when a person has changed its labels or classes and paused
    or left it (``untouched`` when they are as before), and ``save_asked`` when the corrections are to be saved.
    """

    edited = Signal(object)
    touched = Signal()
    untouched = Signal()
    save_asked = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.layer: Labels | None = None
        self.about = text_label(parent=self)
        self.class_box = Choice(parent=self)
        self.paint = _button("Paint", "Paint the chosen class or object. Set the brush size in the layer controls.")
        self.erase = _button("Erase", "Erase labels with the brush.")
        self.undo = _button("Undo", "Undo the last stroke or split (also Ctrl+Z).")
        self.new = _button("New object", "Paint a new object of the chosen class.")
        self.split = _button("Split parts", "Split the chosen object where a line through it was erased.")
        self.look = _button("Pan/zoom", "Drag to move the picture, scroll to zoom, click to choose an object.")
        self.save = _button("Save corrections", "Write picture and labels as training data that Fine-tune reads.")
        self.folder = FolderEdit("Choose the folder for corrections", self)
        self.state = text_label(parent=self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._seen = 0
        self._lay_out()
        self._connect()
        self.watch(None)

    def watch(self, layer: Labels | None) -> None:
        """Work on `layer` from now on; None for none."""
        if layer is not self.layer:
            self.flush()
            self._disconnect()
            set_text(self.state, "")
            self.layer = layer
            if layer is not None:
                layer.events.set_data.connect(self._touched)
                layer.events.labels_update.connect(self._touched)
                layer.events.selected_label.connect(self._selected)
        self.renew()

    def renew(self) -> None:
        """Look at the layer again: new labels or classes have come."""
        self._timer.stop()
        layer = self.layer
        objects = layer is not None and edit.has_objects(layer)
        meaning = layer is not None and edit.has_meaning(layer)  # of others, of any size, nothing is read
        self._seen = edit.signature(layer) if layer is not None and meaning else 0
        self._fill(layer)
        for button in (self.new, self.split):
            button.setVisible(objects)
        for widget in (self.class_box, self.paint, self.erase, self.undo, self.look, self.new, self.split, self.save):
            widget.setEnabled(meaning)
        self.class_box.setToolTip(
            "Class of the chosen object and of new ones. Choosing another recolours it." if objects else "What the brush paints."
        )
        self._selected()

    def flush(self) -> None:
        """Tell a change now that would be told after the pause."""
        if self._timer.isActive():
            self._timer.stop()
            self._tell()

    def _fill(self, layer: Labels | None) -> None:
        self.class_box.blockSignals(True)
        chosen = self.class_box.get()
        self.class_box.clear()
        for one in edit.classes_of(layer) if layer is not None else ():
            self.class_box.addItem(_square(one.colour), one.name, one.value)
        self.class_box.setCurrentIndex(max(0, self.class_box.findData(chosen)) if self.class_box.count() else -1)
        self.class_box.blockSignals(False)

    def _selected(self, _event: object = None) -> None:
        """Show the class of the label that was chosen, in the picture, in the table or in napari's own controls."""
        layer = self.layer
        if layer is None or not edit.has_meaning(layer):
            set_text(self.about, "Choose labels with classes above: segment a picture, or open labels.")
            return
        label = int(layer.selected_label)
        if label:
            edit.ensure_visible(layer, label)
            index = self.class_box.findData(edit.class_value(layer, label))
            self.class_box.blockSignals(True)
            self.class_box.setCurrentIndex(index)
            self.class_box.blockSignals(False)
        set_text(self.about, self._description(layer, label))

    def _description(self, layer: Labels, label: int) -> str:
        if not edit.has_objects(layer):
            return "Choose a class and paint; painting over other labels replaces them."
        if not label:
            return "Click an object in the picture to correct it, or make a new one."
        return f"Object {label} is chosen. Paint to enlarge it; paint over others to join them."

    def _class_chosen(self) -> None:
        layer, value = self.layer, self.class_box.get()
        if layer is None or value is None:
            return
        if not edit.has_objects(layer):
            layer.selected_label = value
            self._use("paint")
        elif layer.selected_label:
            edit.set_class(layer, int(layer.selected_label), value)
            self._touched()

    def _new_object(self) -> None:
        if self.layer is not None:
            edit.new_object(self.layer, self.class_box.get())
            self._use("paint")

    def _split(self) -> None:
        layer = self.layer
        if layer is None:
            return
        made = edit.split_object(layer, int(layer.selected_label)) if layer.selected_label else []
        done = f"{several(len(made), 'new object', 'new objects')}."
        set_text(self.state, done if made else "The chosen object is in one part. Erase a line through it first.")
        self._touched()

    def _use(self, mode: str) -> None:
        if self.layer is not None:
            if mode == "paint" and not self.layer.selected_label and not edit.has_objects(self.layer):
                self.layer.selected_label = self.class_box.get()
            self.layer.visible = True  # before the mode, which it resets
            self._viewer.layers.selection.active = self.layer  # the mouse belongs to the active layer
            self.layer.mode = mode

    def _undo(self) -> None:
        if self.layer is not None:
            self.layer.undo()

    def _touched(self, _event: object = None) -> None:
        if not self._timer.isActive():
            self.touched.emit()
        self._timer.start()

    def _tell(self) -> None:
        if self.layer is None or not edit.has_meaning(self.layer):
            return
        now = edit.signature(self.layer)
        if now != self._seen:
            self._seen = now
            self.edited.emit(self.layer)
        else:
            self.untouched.emit()

    def _disconnect(self) -> None:
        if self.layer is not None:
            self.layer.events.set_data.disconnect(self._touched)
            self.layer.events.labels_update.disconnect(self._touched)
            self.layer.events.selected_label.disconnect(self._selected)

    def _connect(self) -> None:
        self._timer.timeout.connect(self._tell)
        self.class_box.activated.connect(lambda _: self._class_chosen())
        for button, mode in ((self.paint, "paint"), (self.erase, "erase"), (self.look, "pan_zoom")):
            button.clicked.connect(lambda _checked=False, mode=mode: self._use(mode))
        self.undo.clicked.connect(self._undo)
        self.new.clicked.connect(self._new_object)
        self.split.clicked.connect(self._split)
        self.save.clicked.connect(self.save_asked)
        when_destroyed(self, self._disconnect)

    def _lay_out(self) -> None:
        buttons = QGridLayout()
        for place, button in enumerate((self.paint, self.erase, self.look, self.undo, self.new, self.split)):
            buttons.addWidget(button, place // 3, place % 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.about)
        column.addLayout(form_layout([("Class", self.class_box)]))
        column.addLayout(buttons)
        column.addLayout(form_layout([("Save in", self.folder)]))
        column.addWidget(self.save)
        column.addWidget(self.state)
        set_text(self.state, "")


def _button(title: str, tooltip: str) -> QPushButton:
    button = QPushButton(title)
    button.setToolTip(tooltip)
    return button


def _square(colour: tuple[int, int, int]) -> QIcon:
    picture = QPixmap(QSize(12, 12))
    picture.fill(QColor(*colour))
    return QIcon(picture)
