"""Where the images come from: a folder, or the image layers selected in the viewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QRadioButton, QVBoxLayout, QWidget

from napari_sdmae.humanize import several
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.widgets.base.background import tell_when_done
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.canvas.drop import holder
from napari_sdmae.widgets.canvas.write_layers import write_layers
from napari_sdmae.widgets.forms.path_edit import FolderEdit


@dataclass(frozen=True)
class Words:
    """What the two ways are called, and what to do while neither gave anything."""

    folder: str = "Folder of images"
    layers: str = "Layers selected in napari"
    take: str = "Use the selected layers"
    hint: str = "Select image layers in the layer list."
    no_folder: str = "Choose a folder of images."
    no_layers: str = 'Select image layers, then press "Use the selected layers".'


class SourcePicker(QWidget):
    """Lets a person choose a folder, or take the selected image layers.

    Notes
    -----
    ``changed()`` when :attr:`path` changed; ``layers_requested()`` when the selected layers are to be taken,
    which :meth:`take` then does in a thread: compressing a large image takes a while.
    """

    changed = Signal()
    layers_requested = Signal()
    _written = Signal(object, str)

    words = Words()

    def __init__(self, parent: QWidget | None = None, *, folder: FolderEdit | None = None) -> None:
        super().__init__(parent)
        self.from_folder = QRadioButton(self.words.folder, self)
        self.from_layers = QRadioButton(self.words.layers, self)
        self.folder = folder or FolderEdit("Choose the folder of tissue images", self)
        if folder is None:
            self.folder.text.setPlaceholderText("tiles or slides, with sub-folders")
        self.take_button = QPushButton(self.words.take, self)
        self.note = text_label(self.words.hint, self)
        self._taken: Path | None = None
        self._lay_out()

    @property
    def path(self) -> Path | None:
        """The folder to train on, or None while there is none."""
        return self.folder.get() if self.from_folder.isChecked() else self._taken

    @property
    def taken(self) -> Path | None:
        """What was written of layers, while that is the source."""
        return None if self.from_folder.isChecked() else self._taken

    @property
    def advice(self) -> str:
        """What to do while there is no folder."""
        if self.from_folder.isChecked():
            return self.words.no_folder
        if not self.take_button.isEnabled():
            return "Writing the layers…"
        return self.words.no_layers

    def use(self, path: Path) -> None:
        """Use the images at `path`."""
        self.from_folder.setChecked(True)
        self.folder.take(path)

    def take(self, layers: list[Any], folder: Path) -> None:
        """Write the image `layers` into `folder`, which then is the source."""

        def write() -> tuple[Path, str]:
            files = write_layers(layers, folder)
            names = ", ".join(layer.name for layer in layers)
            return folder, f"Using: {names} ({several(len(files), 'image', 'images')}, kept in {folder})"

        self.take_by(write)

    def take_by(self, write: Callable[[], tuple[Path, str]]) -> None:
        """Let `write`, in a thread, write layers into what then is the source; it returns that and what to say."""
        self._taken = None
        self.take_button.setEnabled(False)
        self.note.setText("Writing the layers…")
        self.changed.emit()
        tell_when_done(write, self._written, lambda line: (None, f"The layers could not be written: {line}"))

    def refuse(self, reason: str) -> None:
        """Say why nothing was taken."""
        self.note.setText(reason)

    def _show_written(self, folder: Path | None, note: str) -> None:
        self._taken = folder
        self.take_button.setEnabled(True)
        self.note.setText(note)
        self.changed.emit()

    def _lay_out(self) -> None:
        layers = self.layers = QWidget(self)
        inner = QVBoxLayout(layers)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.take_button)
        inner.addWidget(self.note)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.from_folder, self.folder, self.from_layers, layers):
            column.addWidget(widget)
        self.from_folder.toggled.connect(self.folder.setVisible)
        self.from_layers.toggled.connect(layers.setVisible)
        self.from_folder.toggled.connect(lambda _: self.changed.emit())
        layers.hide()
        self.from_folder.setChecked(True)
        self.folder.edited.connect(self.changed)
        self.take_button.clicked.connect(self.layers_requested)
        self._written.connect(self._show_written)


def take_run_or_images(dock: Any, path: Path) -> None:
    """Let a dock that trains watch the run that was dropped on it; anything else is what the next run learns from."""
    if RunFolder(holder(path)).status() is not None:
        dock.attach(holder(path))
    else:
        dock.new_run.source.use(path)
        dock.tabs.setCurrentIndex(0)
