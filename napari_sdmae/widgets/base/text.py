"""Labels that wrap, banners that stand out, and the line that shows a command."""

from __future__ import annotations

from typing import Any, ClassVar

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication, QShowEvent
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

COMMAND_LINES = 5
"""Lines of a command that are seen at once: one with a long path and all settings."""


def text_label(text: str = "", parent: QWidget | None = None) -> QLabel:
    """Return a label that wraps its plain text and lets it be copied."""
    label = QLabel(text, parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def scrolling(page: QWidget) -> QScrollArea:
    """Return `page` in an area that scrolls up and down only."""
    area = QScrollArea()
    area.setWidget(page)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area


class Banner(QLabel):
    """A coloured line for what must not be missed; hidden while it has nothing to say."""

    COLOURS: ClassVar = {"warning": ("#5c4400", "#ffd866"), "error": ("#5a1620", "#ffb3bd")}

    def __init__(self, kind: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        background, foreground = self.COLOURS[kind]
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setStyleSheet(f"background: {background}; color: {foreground}; padding: 6px; border-radius: 4px;")
        self.hide()

    def show_text(self, text: str) -> None:
        """Show `text`, or hide when it is empty."""
        self.setText(text)
        self.setVisible(bool(text))


class CommandLine(QWidget):
    """Shows the exact command, wrapped, with a button that copies it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = QPlainTextEdit(self)
        self.text.setReadOnly(True)
        self.text.setMinimumWidth(100)
        self.copy = QPushButton("Copy", self)
        self.copy.setToolTip("Copy the command: it does the same in a terminal or on a cluster.")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text)
        row.addWidget(self.copy, alignment=Qt.AlignmentFlag.AlignTop)
        self.copy.clicked.connect(self._copy)

    def showEvent(self, event: QShowEvent) -> None:
        """Be as high as whole lines in the font that the window's style has given by now."""
        super().showEvent(event)
        edges = 2 * (self.text.frameWidth() + round(self.text.document().documentMargin()))
        self.text.setFixedHeight(COMMAND_LINES * self.text.fontMetrics().lineSpacing() + edges)

    def show_command(self, line: str, missing: str = "") -> None:
        """Show the command `line`, or, where there is none, why it is `missing`; nothing at all if neither is given."""
        self.text.setVisible(bool(line or missing))
        self.copy.setVisible(bool(line or missing))
        self.text.setPlaceholderText(missing)
        if line != self.text.toPlainText():
            self.text.setPlainText(line)
        self.copy.setEnabled(bool(line))

    def _copy(self) -> None:
        clipboard: Any = QGuiApplication.clipboard()
        clipboard.setText(self.text.toPlainText())


class TextDialog(QDialog):
    """A window with a long text, such as a log, scrolled to its end."""

    def __init__(self, title: str, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.resize(820, 520)
        self.text = QPlainTextEdit(text, self)
        self.text.setReadOnly(True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(buttons)
        bar = self.text.verticalScrollBar()
        bar.setValue(bar.maximum())
