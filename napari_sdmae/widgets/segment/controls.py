"""The upper part of the Segment dock: head, picture and options. It submits nothing itself."""

from __future__ import annotations

from typing import Any, TypedDict

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_sdmae.config.finetune import Task
from napari_sdmae.notices import PREDICTION
from napari_sdmae.widgets.base.dock import form_layout, set_text
from napari_sdmae.widgets.base.error_line import FailureLine
from napari_sdmae.widgets.base.preferences import remember, remembered
from napari_sdmae.widgets.base.text import CommandLine, text_label
from napari_sdmae.widgets.forms.editors import FloatBox
from napari_sdmae.widgets.inputs.head import HeadInput
from napari_sdmae.widgets.inputs.image import ImageInput

MAPPED: tuple[Task, ...] = ("segmentation", "instances")
"""Tasks whose heads give probabilities for every pixel."""


class SegmentOptions(TypedDict, total=False):
    """What is requested in addition to the picture; what is left out does not concern the task of the head."""

    probabilities: bool
    flips: bool
    measured: bool
    cell_expansion_um: float
    smallest_um2: float


class SegmentControls(QWidget):
    """Head, image, region and options, the button that segments, and what became of it.

    Emits ``changed`` when another request would be submitted.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.head = HeadInput(self)
        self.image = ImageInput(viewer, self)
        self.probabilities = QCheckBox("Probability layers", self)
        self.probabilities.setToolTip("Also show the probability of each class as a layer from 0 to 1.")
        self.probabilities.setChecked(remembered("segment.probabilities", False))
        self.flips = QCheckBox("Average mirrored views", self)
        self.flips.setToolTip("Predict four mirrored views and average them: four times slower, slightly better.")
        self.flips.setChecked(remembered("segment.flips", False))
        self.expand = FloatBox(0, 50, self)
        self.expand.setToolTip("Grow each nucleus by this distance to a cell, never into another. 0: nuclei only.")
        self.expand.set(remembered("segment.expand", 0.0))
        self.smallest = FloatBox(0, 1e6, self)
        self.smallest.setToolTip("Smaller objects are left out.")
        self.nuclei = QWidget(self)
        self.button = QPushButton("Segment", self)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setToolTip("Stop this computation.")
        self.reason_line, self.state, self.note = text_label(), text_label(), text_label(PREDICTION)
        self.failure = FailureLine(self)
        self.command_line = CommandLine(self)
        self._lay_out()
        self._connect()
        self._fit_head()
        set_text(self.state, "")
        self.busy(False)

    @property
    def task(self) -> Task | None:
        """The task of the chosen head."""
        return self.head.head.task if self.head.head else None

    @property
    def mpp(self) -> float | None:
        """The scale the head expects, µm per pixel."""
        return self.head.head.mpp if self.head.head else None

    @property
    def options(self) -> SegmentOptions:
        """What is requested in addition to the picture."""
        mapped = self.task in MAPPED
        options: SegmentOptions = {
            "probabilities": mapped and self.probabilities.isChecked(),
            "flips": mapped and self.flips.isChecked(),
        }
        if self.task == "classification":
            options |= {"measured": False}  # the shape of a tile says nothing of the tissue
        if self.task == "instances":
            options |= {"cell_expansion_um": self.expand.get(), "smallest_um2": self.smallest.get()}
        return options

    @property
    def arguments(self) -> list[str]:
        """The same for the command line."""
        options = self.options
        arguments = [f"--{name}" for name in ("probabilities", "flips") if options[name]]
        if self.task == "instances":
            arguments += ["--cell-expansion", f"{self.expand.get():g}", "--smallest", f"{self.smallest.get():g}"]
        return arguments

    def used(self) -> None:
        """Remember head and options: a request was submitted."""
        self.head.used()
        remember("segment.probabilities", self.probabilities.isChecked())
        remember("segment.flips", self.flips.isChecked())
        remember("segment.expand", self.expand.get())

    def busy(self, busy: bool) -> None:
        """Show that a result is on its way."""
        self.cancel.setVisible(busy)

    def reason(self) -> str:
        """Return why nothing can be asked yet, or an empty text."""
        if self.image.layer is None:
            return "Open a picture first, for example with File > Open Sample > SD-MAE."
        return self.head.problem

    def _fit_head(self) -> None:
        spec = self.head.head
        self.nuclei.setVisible(self.task == "instances")
        for box in (self.probabilities, self.flips):
            box.setVisible(self.task in MAPPED)
        if spec is not None:
            self.smallest.set(spec.head.smallest)
        self.changed.emit()

    def _connect(self) -> None:
        self.head.changed.connect(self._fit_head)
        for signal in (self.image.changed, self.expand.edited, self.smallest.edited):
            signal.connect(self.changed)
        for box in (self.probabilities, self.flips):
            box.toggled.connect(lambda _: self.changed.emit())

    def _lay_out(self) -> None:
        sizes = form_layout([("Expand to cells (µm)", self.expand), ("Smallest object (µm²)", self.smallest)])
        sizes.setContentsMargins(0, 0, 0, 0)
        self.nuclei.setLayout(sizes)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 1)
        buttons.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        boxes: list[tuple[str, Any]] = [("", self.probabilities), ("", self.flips), ("", self.nuclei)]
        rows: list[tuple[str, Any]] = [("Head", self.head), *self.image.rows, *boxes]
        column.addLayout(form_layout(rows))
        column.addLayout(buttons)
        for widget in (self.reason_line, self.failure, self.state, self.note, self.command_line):
            column.addWidget(widget)
