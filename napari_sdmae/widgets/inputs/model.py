"""Choose a model: a run folder, a model folder or one that comes with the package; recent ones first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QToolButton, QVBoxLayout, QWidget
from superqt import QSearchableComboBox

from napari_sdmae.humanize import sentence
from napari_sdmae.io.model_info.describe import SHIPPED, describe_model
from napari_sdmae.io.model_info.info import ModelInfo, check_numbers, fingerprint, model_info, shipped_models
from napari_sdmae.widgets.base.dock import set_text
from napari_sdmae.widgets.base.preferences import output_folder, remember_recent, remembered
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.canvas.drop import accept_drop, holder
from napari_sdmae.widgets.forms.elided_line import ElidedLine
from napari_sdmae.widgets.inputs.model_card import AboutModel

RECENT = "models"


class ModelBox(QSearchableComboBox):
    """A list in which any part of a name finds it; a name or path that is longer than the box is shown with an ellipsis."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = ElidedLine(self)
        self.setLineEdit(self.line)
        self.setCompleter(self.completer_object)  # that of the line before


class ModelInput(QWidget):
    """An editable list of models, a button for a folder, what the chosen model is, and its card.

    Those used last come first, then those that come with the package. Where nothing was used yet, the first of these is chosen,
    so that a newcomer has only to press the button.

    Emits ``changed`` when another model is chosen; ``info`` is None while it is none that can be used,
    and ``problem`` then says why. ``identity`` is another one when another model is chosen, or was found in the same folder.

    Parameters
    ----------
    optional
        No model is a choice too.
    recent
        Which list of models used last is offered.
    shipped
        Names of those that come with the package, the one chosen by default first.
    """

    changed = Signal()

    def __init__(
        self,
        parent: QWidget | None = None,
        *,
        optional: bool = False,
        recent: str = RECENT,
        shipped: Callable[[], list[str]] = shipped_models,
    ) -> None:
        super().__init__(parent)
        self._optional = optional
        self._recent = recent
        self._shipped = shipped()
        self.info: ModelInfo | None = None
        self.problem = ""
        self.identity: tuple[str, str] = ("", "")
        self.box = ModelBox(self)
        self.box.setSizeAdjustPolicy(QSearchableComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        self.box.setToolTip("A run folder (also one that is still training), a model folder, or a model from the list.")
        self.button = QToolButton(self)
        self.button.setText("…")
        self.button.setToolTip("Choose the run folder or model folder.")
        self.about = text_label(parent=self)
        self.card = AboutModel(self)
        row = QHBoxLayout()
        row.addWidget(self.box, 1)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.about)
        column.addWidget(self.card)
        self._fill()
        self.box.setCurrentText(self._title(next(iter(self.offered), "")))
        self.box.activated.connect(lambda _: self._look())
        self.box.line.setPlaceholderText("none" if optional else "run or model folder")
        self.box.line.editingFinished.connect(self._look)
        self.button.clicked.connect(self._browse)
        accept_drop(self, self.take)
        self._look()

    @property
    def model(self) -> str:
        """The chosen model as commands name it: a folder as given, the name of a shipped one, or an empty text."""
        text = str(self.box.currentText()).strip()
        index = self.box.findText(text)
        return str(self.box.itemData(index)) if index >= 0 else text

    @property
    def folder(self) -> str:
        """The folder of the chosen model's files, as the worker is asked about it."""
        return str(self.info.folder) if self.info else self.model

    def choose(self, model: str | Path) -> None:
        """Choose `model`."""
        self.box.setCurrentText(self._title(str(model)))
        self._look()

    def take(self, path: Path) -> None:
        """Choose the model that was dropped: its folder, or a file in it such as the status.json of a run."""
        if path.is_file() and look_at(str(path.parent))[0] is None:
            show_warning(f"{path.name}: not a model. Drop the folder of a run or model here, and pictures on the canvas.")
        else:
            self.choose(holder(path))

    def used(self) -> None:
        """Put the model first in the list of recent ones: a request was submitted for it."""
        remember_recent(self._recent, self.model)

    def refresh(self) -> None:
        """Look at the model again (a run may have finished an epoch), and at the list of recent ones."""
        self._fill()
        self._look()

    def _fill(self) -> None:
        chosen = self.model
        self.box.blockSignals(True)
        self.box.clear()
        for model in self.offered:
            self.box.addItem(self._title(model), model)
            tooltip = f"{self._title(model)}, {SHIPPED}" if model in self._shipped else model
            self.box.setItemData(self.box.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)
        self.box.setCurrentText(self._title(chosen))  # also if it was cleared: nothing answers in its place
        self.box.blockSignals(False)

    @property
    def offered(self) -> list[str]:
        """Return the models of the list: those used last, then those that come with the package."""
        recent = [one for one in remembered(self._recent, []) if isinstance(one, str)]
        return ([""] if self._optional else []) + recent + [name for name in self._shipped if name not in recent]

    def _title(self, model: str) -> str:
        """Return the name by which people see a model."""
        info = look_at(model)[0] if model in self._shipped else None
        return info.title if info else model

    def _browse(self) -> None:
        start = str(Path(self.model).parent) if Path(self.model).is_absolute() else str(output_folder())
        folder = QFileDialog.getExistingDirectory(self, "Choose a run folder or model folder", start)
        if folder:
            self.choose(folder)

    def _look(self) -> None:
        before = (self.info, self.problem, self.identity)
        self.info, self.problem = look_at(self.model)
        self.identity = identity_of(self.folder)
        if not self.model:
            self.problem = "" if self._optional else "Choose a model: a run folder or a model folder."
        set_text(self.about, describe_model(self.info) if self.info else self.problem)
        self.card.show_model(self.info)
        self._show_what_tells_it_apart()
        if before != (self.info, self.problem, self.identity):
            self.changed.emit()

    def _show_what_tells_it_apart(self) -> None:
        """Where the field is too narrow, show the beginning of a title, but the end of a path."""
        if not self.box.line.hasFocus():
            self.box.line.elide_left(self.model not in self._shipped)


def identity_of(folder: str) -> tuple[str, str]:
    """Return the folder of a model, and what changes with its files."""
    try:
        return folder, fingerprint(Path(folder)) if folder else ""
    except OSError:  # no model there, or not any more
        return folder, ""


def look_at(model: str) -> tuple[ModelInfo | None, str]:
    """Return what `model` is, or why it cannot be used."""
    if not model:
        return None, ""
    try:
        info = model_info(model)
        check_numbers(info)
        return info, ""
    except (OSError, ValueError, KeyError) as error:
        return None, sentence(" ".join(str(error).split()))
