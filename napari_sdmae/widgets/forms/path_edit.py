"""A folder as a setting."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_sdmae.widgets.canvas.drop import accept_drop, holder
from napari_sdmae.widgets.forms.editors import TextEdit


class FolderEdit(QWidget):
    """A folder (never a file): typed, picked with the button, or dropped on it. Empty is None."""

    edited = Signal()

    def __init__(self, caption: str = "Choose a folder", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._caption = caption
        self.text = TextEdit(self)
        self.text.setPlaceholderText("automatic")
        self.button = QPushButton("…", self)
        self.button.setFixedWidth(32)
        self.button.setToolTip(caption)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text)
        row.addWidget(self.button)
        self.text.setToolTip(caption)
        self.text.edited.connect(lambda: self.text.setToolTip(self.text.get() or self._caption))
        self.text.edited.connect(self.edited)
        self.button.clicked.connect(self.browse)
        accept_drop(self, self.take)

    def get(self) -> Path | None:
        """Return the folder, or None."""
        text = self.text.get()
        return Path(text).expanduser() if text else None

    def set(self, value: Path | None) -> None:
        """Show `value`."""
        self.text.set("" if value is None else str(value))

    def take(self, path: Path) -> None:
        """Show what was dropped; of a file, the folder it lies in."""
        self.set(holder(path))

    def browse(self) -> None:
        """Let a person pick the folder."""
        chosen = QFileDialog.getExistingDirectory(self, self._caption, self.text.get())
        if chosen:
            self.text.set(chosen)
