"""Labelled data as a setting: a folder, or a table or COCO file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QFileDialog, QMenu, QWidget

from napari_sdmae.widgets.forms.path_edit import FolderEdit


class DataEdit(FolderEdit):
    """A folder or a file: typed, dropped on it, or picked with the button, which asks which of the two."""

    def __init__(self, caption: str = "Choose the labelled images", parent: QWidget | None = None) -> None:
        super().__init__(caption, parent)
        self.menu = QMenu(self)
        self.menu.addAction("Choose a folder…").triggered.connect(lambda: super(DataEdit, self).browse())
        self.menu.addAction("Choose a table or COCO file…").triggered.connect(lambda: self.browse_file())

    def take(self, path: Path) -> None:
        """Show the folder or file that was dropped."""
        self.set(path)

    def browse(self) -> None:
        """Ask whether a folder or a file is to be picked."""
        self.menu.popup(self.button.mapToGlobal(QPoint(0, self.button.height())))

    def browse_file(self) -> None:
        """Let a person pick a table or a COCO file."""
        chosen, _ = QFileDialog.getOpenFileName(self, self._caption, self.text.get(), "Labels (*.csv *.json);;All files (*)")
        if chosen:
            self.text.set(chosen)
