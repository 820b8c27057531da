"""The frame of a dock widget: scrolls when the dock is small, never wider than the dock."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFormLayout, QFrame, QLabel, QLayout, QScrollArea, QWidget

WIDTH = 300


def form_layout(rows: Sequence[tuple[str, QWidget | QLayout]]) -> QFormLayout:
    """Return a form whose fields grow with the dock; a row without title takes the whole width."""
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for title, field in rows:
        form.addRow(title, field) if title else form.addRow(field)
    return form


def set_text(label: QLabel, text: str) -> None:
    """Show `text`; a label with nothing to say takes no room."""
    label.setText(text)
    label.setVisible(bool(text))


class Dock(QScrollArea):
    """A dock widget whose content scrolls vertically and is usable from 300 px on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(WIDTH)

    def set_content(self, content: QWidget) -> None:
        """Show `content`."""
        self.setWidget(content)

    def sizeHint(self) -> QSize:
        """Ask for a comfortable width, and for little height: the rest scrolls."""
        return QSize(WIDTH + 60, 500)
