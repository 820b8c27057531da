"""The controls of the Attention dock widget. They ask nothing themselves: they emit what changed."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QSlider, QVBoxLayout, QWidget
from superqt import QLabeledSlider

from napari_sdmae.config.attention import BY_HEAD
from napari_sdmae.notices import ATTENTION
from napari_sdmae.widgets.attention.view import METHODS, View
from napari_sdmae.widgets.base.dock import form_layout, set_text
from napari_sdmae.widgets.base.error_line import FailureLine
from napari_sdmae.widgets.base.text import CommandLine, text_label
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.inputs.image import ImageInput
from napari_sdmae.widgets.inputs.model import ModelInput

PIXELS = {"nearest": "One value per patch", "linear": "Smooth (bilinear)"}
"""napari's names of the interpolations, and how people see them."""


class AttentionControls(QWidget):
    """Everything a person sees in the dock.

    Emits ``view_changed`` when another map is wanted (method, block, head), ``look_changed`` when only its look changes.
    """

    view_changed = Signal()
    look_changed = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image = ImageInput(viewer, self)
        self.model = ModelInput(self)
        self.second = ModelInput(self, optional=True)
        self.method = Choice({method: title for method, (title, _) in METHODS.items()}, self)
        for index, (_, tooltip) in enumerate(METHODS.values()):
            self.method.setItemData(index, tooltip, Qt.ItemDataRole.ToolTipRole)
        self.about_method = text_label(parent=self)
        self.block = _slider(QSlider, 1, 12)
        self.block_label = QLabel(self)
        self.head = Choice(parent=self)
        self.interpolation_box = Choice(
            PIXELS, self, tooltip="The true resolution is one value per patch; smooth only looks finer."
        )
        self.opacity_slider = _slider(QLabeledSlider, 0, 100)
        self.opacity_slider.setValue(60)
        self.hover = QCheckBox("Follow the pointer", self)
        self.hover.setToolTip("The query patch follows the pointer without pressing a button.")
        self.keep_colours = QCheckBox("Keep these colours", self)
        self.keep_colours.setToolTip("Keep the colours of the first picture, so that pictures can be compared.")
        self.show_button = QPushButton("Show attention", self)
        self.reason_line = text_label(parent=self)
        self.failure = FailureLine(self)
        self.state = text_label(parent=self)
        self.numbers = QLabel(self)
        self.numbers.setTextFormat(Qt.TextFormat.RichText)
        self.numbers.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.disclaimer = text_label(ATTENTION, self)
        self.command = CommandLine(self)
        self._lay_out()
        self.fit_model()
        self._method_changed()
        self._connect()

    @property
    def view(self) -> View:
        """The map that is wanted."""
        return View(self.method.get(), self.block.value(), self.head.get() or "mean")

    @property
    def opacity(self) -> float:
        """Opacity of the maps, 0 to 1."""
        return float(self.opacity_slider.value()) / 100

    @property
    def interpolation(self) -> str:
        """Name of the interpolation in napari."""
        return str(self.interpolation_box.get())

    def choose(self, view: View) -> None:
        """Set method, block and head."""
        self.method.set(view.method)
        self.block.setValue(view.block)
        self.head.set(view.head)

    def reason(self) -> str:
        """Return why there is nothing to show yet, or an empty text."""
        if self.image.layer is None:
            return "Open a picture first, for example with File > Open Sample > SD-MAE."
        return self.model.problem or self.second.problem

    def fit_model(self) -> None:
        """Offer the blocks and heads of the chosen model; the last block is chosen when the old one was the last."""
        depth, heads = (self.model.info.depth, self.model.info.heads) if self.model.info else (12, 0)
        last = self.block.value() == self.block.maximum()
        with QSignalBlocker(self.block):
            self.block.setMaximum(depth)
            self.block.setValue(depth if last else min(self.block.value(), depth))
        numbered = {number: f"Head {number}" for number in range(1, heads + 1)}
        self.head.offer({"mean": "Mean of all heads", "grid": "Every head, side by side"} | numbered)
        self._count()

    def _lay_out(self) -> None:
        block = QHBoxLayout()
        block.addWidget(self.block, 1)
        block.addWidget(self.block_label)
        method = QVBoxLayout()
        for widget in (self.method, self.about_method, self.hover, self.keep_colours):
            method.addWidget(widget)
        rows: list[tuple[str, Any]] = [
            *self.image.rows,
            ("Model", self.model),
            ("Compare", self.second),
            ("Show", method),
            ("Block", block),
            ("Head", self.head),
            ("Pixels", self.interpolation_box),
            ("Opacity", self.opacity_slider),
        ]
        self.second.setToolTip("A second model: its map is shown beside the first, on the same colour scale.")
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.addLayout(form_layout(rows))
        for widget in (self.show_button, self.reason_line, self.failure, self.numbers, self.state, self.disclaimer, self.command):
            column.addWidget(widget)
        for label in (self.numbers, self.state):
            set_text(label, "")
        column.addStretch(1)

    def _connect(self) -> None:
        self.method.edited.connect(self._method_changed)
        self.block.valueChanged.connect(self._count)
        self.block.valueChanged.connect(lambda _: self.view_changed.emit())
        for choice in (self.method, self.head):
            choice.edited.connect(self.view_changed)
        self.interpolation_box.edited.connect(self.look_changed)
        self.opacity_slider.valueChanged.connect(lambda _: self.look_changed.emit())

    def _method_changed(self) -> None:
        view = self.view
        self.about_method.setText(METHODS[view.method][1])
        self.hover.setVisible(view.pointed)
        self.keep_colours.setVisible(view.method == "pca")
        self.head.setEnabled(view.method in BY_HEAD)

    def _count(self, _value: int = 0) -> None:
        self.block_label.setText(f"{self.block.value()} of {self.block.maximum()}")  # superqt's slider shows no maximum


def _slider(kind: Any, low: int, high: int) -> Any:
    slider = kind(Qt.Orientation.Horizontal)
    slider.setRange(low, high)
    slider.setValue(high)
    slider.setPageStep(1)
    return slider
