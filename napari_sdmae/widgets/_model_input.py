"""Choose a model: a run folder or a model folder, recent ones first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_sdmae.io.model_info import ModelInfo, model_info
from napari_sdmae.widgets._notes import text_label
from napari_sdmae.widgets._settings import output_folder, remember_recent, remembered

RECENT = "models"


def describe_model(info: ModelInfo) -> str:
    """Return what people want to know of a model, in one line."""
    scale = f" · {info.mpp:.3g} µm/px" if info.mpp else ""
    return (
        f"{info.encoder} · tiles of {info.tile_size} px, patches of {info.patch_size} px{scale} · "
        f"{info.depth} blocks × {info.heads} heads"
    )


class ModelInput(QWidget):
    """An editable list of recent models, a button for a folder, and what the chosen model is.

    Emits ``changed`` when another model is chosen; ``info`` is None while it is none that can be used,
    and ``problem`` then says why.

    Parameters
    ----------
    optional
        No model is a choice too.
    recent
        Which list of models used last is offered.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None, *, optional: bool = False, recent: str = RECENT) -> None:
        super().__init__(parent)
        self._optional = optional
        self._recent = recent
        self.info: ModelInfo | None = None
        self.problem = ""
        self.box = QComboBox(self)
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        self.box.setToolTip("A run folder (also one that is still training) or a model folder.")
        self.button = QToolButton(self)
        self.button.setText("…")
        self.button.setToolTip("Choose the run folder or model folder.")
        self.about = text_label(parent=self)
        row = QHBoxLayout()
        row.addWidget(self.box, 1)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.about)
        self._fill()
        self.box.activated.connect(lambda _: self._look())
        line: Any = self.box.lineEdit()
        line.setPlaceholderText("none" if optional else "run or model folder")
        line.editingFinished.connect(self._look)
        self.button.clicked.connect(self._browse)
        self._look()

    @property
    def model(self) -> str:
        """The chosen model as given, or an empty text."""
        return str(self.box.currentText()).strip()

    def choose(self, model: str | Path) -> None:
        """Choose `model`."""
        self.box.setCurrentText(str(model))
        self._look()

    def used(self) -> None:
        """Put the model first in the list of recent ones: a question about it was asked."""
        remember_recent(self._recent, self.model)

    def refresh(self) -> None:
        """Look at the model again (a run may have finished an epoch), and at the list of recent ones."""
        self._fill()
        self._look()

    def _fill(self) -> None:
        chosen = self.model
        recent = [one for one in remembered(self._recent, []) if isinstance(one, str)]
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItems(([""] if self._optional else []) + recent)
        self.box.setCurrentText(chosen or ("" if self._optional or not recent else recent[0]))
        self.box.blockSignals(False)

    def _browse(self) -> None:
        start = str(Path(self.model).parent) if self.model else str(output_folder())
        folder = QFileDialog.getExistingDirectory(self, "Choose a run folder or model folder", start)
        if folder:
            self.choose(folder)

    def _look(self) -> None:
        before = (self.info, self.problem)
        self.info, self.problem = look_at(self.model)
        if not self.model:
            self.problem = "" if self._optional else "Choose a model: a run folder or a model folder."
        self.about.setText(describe_model(self.info) if self.info else self.problem)
        self.about.setVisible(bool(self.about.text()))
        tooltip_role = Qt.ItemDataRole.ToolTipRole
        for index in range(self.box.count()):
            self.box.setItemData(index, self.box.itemText(index), tooltip_role)
        if before != (self.info, self.problem):
            self.changed.emit()


def look_at(model: str) -> tuple[ModelInfo | None, str]:
    """Return what `model` is, or why it cannot be used."""
    if not model:
        return None, ""
    try:
        return model_info(model), ""
    except (OSError, ValueError, KeyError) as error:
        return None, " ".join(str(error).split())
