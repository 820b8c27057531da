"""The controls of the Scribbles dock widget. They submit nothing themselves.

*Detail 2×* shows the encoder the picture enlarged, as nuclei are about as small as a patch: Dice 0.776 and 0.817 (4 + 4 and 12
+ 12 strokes) against 0.719 and 0.767, for 1.0 s of encoding instead of 0.4 s. 3× gave 0.785 and 0.796 for 2.5 s; four shifted
passes +0.006. The saved head states half the µm/px, which is all that prediction needs, so it takes a picture of known scale.
"""

from __future__ import annotations

from typing import Any, TypedDict

from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_sdmae.inference.scribbles.samples import Method
from napari_sdmae.notices import SCRIBBLES
from napari_sdmae.widgets.base.dock import form_layout, set_text
from napari_sdmae.widgets.base.error_line import FailureLine
from napari_sdmae.widgets.base.preferences import remember, remembered
from napari_sdmae.widgets.base.text import CommandLine, text_label
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.inputs.class_list import ClassList
from napari_sdmae.widgets.inputs.image import ImageInput
from napari_sdmae.widgets.inputs.model import ModelInput

METHODS: dict[Method, str] = {"linear": "Linear", "knn": "k-NN"}
ABOUT_METHODS = "Linear: one weight per feature, can be saved as a head. k-NN: the most similar strokes vote."
DETAILS = {1: "Normal", 2: "2× finer"}
FINER = "2× finer: the picture is enlarged for the model, so that a patch covers less tissue; four times slower at first."
NO_PROBABILITY = "None"


class ScribbleOptions(TypedDict):
    """What is requested in addition to the strokes."""

    method: Method
    detail: int
    probabilities: bool


class ScribbleControls(QWidget):
    """Everything a person sees in the dock."""

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image = ImageInput(viewer, self)
        self.model = ModelInput(self)
        self.classes = ClassList(self)
        self.paint = _button("Paint", "Paint strokes of the chosen class. Set the brush size in the layer controls.")
        self.erase = _button("Erase", "Erase strokes with the brush.")
        self.undo = _button("Undo", "Undo the last stroke (also Ctrl+Z in the strokes layer).")
        self.move_button = _button("Pan/zoom", "Drag to move the picture, scroll to zoom.")
        self.adopt = _button(
            "Use selected labels", "Use the Labels layer selected in the layer list as strokes: its values are classes."
        )
        self.method = Choice(METHODS, self, tooltip=ABOUT_METHODS)
        self.detail = Choice(DETAILS, self, tooltip=FINER)
        self.probability = Choice(parent=self, tooltip="Show the probability of one class as a layer from 0 to 1.")
        self.live = QCheckBox("Refresh while painting", self)
        self.live.setToolTip("Segment again after every stroke.")
        self.segment = QPushButton("Segment", self)
        self.reason_line, self.state, self.agreement = (text_label(parent=self) for _ in range(3))
        self.failure = FailureLine(self)
        self.name = QLineEdit(self)
        self.name.setPlaceholderText("name of the head")
        self.name.setMinimumWidth(60)
        self.save = QPushButton("Save as head", self)
        self.finetune = QPushButton("Fine-tune from these labels", self)
        self.saved, self.disclaimer = text_label(parent=self), text_label(SCRIBBLES, self)
        self.command = CommandLine(self)
        self.command.hide()
        self._remember()
        self._lay_out()

    @property
    def probability_of(self) -> int | None:
        """Value of the class whose probability is shown, or None."""
        value: int | None = self.probability.get()
        return value

    @property
    def mpp(self) -> float | None:
        """The scale of the model's tiles, µm per pixel."""
        return self.model.info.mpp if self.model.info else None

    @property
    def options(self) -> ScribbleOptions:
        """What is requested in addition to the strokes."""
        shown = self.probability_of is not None
        return {"method": self.method.get(), "detail": self.detail.get(), "probabilities": shown}

    def used(self) -> None:
        """Remember model and options: a request was submitted."""
        self.model.used()
        remember("scribbles.method", self.method.get())
        remember("scribbles.detail", self.detail.get())

    def reason(self) -> str:
        """Return why nothing can be asked yet, or an empty text."""
        if self.image.layer is None:
            return "Open a picture first, for example with File > Open Sample > SD-MAE."
        return self.model.problem

    def enable(self, painted: bool) -> None:
        """Enable what can be pressed; `painted`: the picture has a strokes layer."""
        reason = self.reason()
        set_text(self.reason_line, reason)
        self.segment.setEnabled(not reason)
        for button in (self.paint, self.erase, self.adopt):
            button.setEnabled(self.image.layer is not None)
        for button in (self.undo, self.move_button):
            button.setEnabled(painted)

    def fit_classes(self) -> None:
        """Offer the classes for the probability layer; the chosen one stays."""
        self.probability.offer({None: NO_PROBABILITY} | {one.value: one.name for one in self.classes.classes})

    def fit_scale(self, known: bool) -> None:
        """Offer finer detail only where the scale of the picture is known: a saved head finds its detail again by the scale."""
        self.detail.setEnabled(known)
        self.detail.setToolTip(
            FINER if known else "Finer detail needs a picture of known scale: set the layer's scale and unit (µm) first."
        )
        if not known:
            self.detail.set(1)

    def _remember(self) -> None:
        self.method.set(_known(METHODS, remembered("scribbles.method", "linear")))
        self.detail.set(_known(DETAILS, remembered("scribbles.detail", 1)))
        self.live.setChecked(remembered("scribbles.live", True))
        self.fit_classes()

    def _lay_out(self) -> None:
        tools = QGridLayout()
        tools.setSpacing(4)
        for place, button in enumerate((self.paint, self.erase, self.undo, self.move_button)):
            tools.addWidget(button, place // 2, place % 2)
        tools.addWidget(self.adopt, 2, 0, 1, 2)
        save = QHBoxLayout()
        save.addWidget(self.name, 1)
        save.addWidget(self.save)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.addLayout(form_layout([*self.image.rows, ("Model", self.model)]))
        column.addWidget(_heading("Classes and strokes"))
        column.addWidget(self.classes)
        column.addLayout(tools)
        column.addLayout(form_layout([("Classifier", self.method), ("Detail", self.detail), ("Probability", self.probability)]))
        for widget in (self.live, self.segment, self.reason_line, self.failure, self.state, self.agreement):
            column.addWidget(widget)
        column.addWidget(_heading("Save"))
        column.addLayout(save)
        for widget in (self.saved, self.command, self.finetune, self.disclaimer):
            column.addWidget(widget)
        column.addStretch(1)
        for label in (self.reason_line, self.state, self.agreement, self.saved):
            set_text(label, "")


def _known(options: dict[Any, str], value: Any) -> Any:
    return value if value in options else next(iter(options))


def _button(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return button


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label
