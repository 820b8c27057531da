"""A heading that folds what is under it.

Ours, as superqt's ``QCollapsible`` draws a black arrow on napari's dark theme, leaves folded fields where Tab goes, and indents
each level by 20 px of a dock of 300.
"""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget


class CollapsibleSection(QWidget):
    """A heading with an arrow; a click shows or hides `content`."""

    def __init__(self, title: str, content: QWidget, *, unfolded: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.heading = QToolButton(self)
        self.heading.setText(title)
        self.heading.setCheckable(True)
        self.heading.setAutoRaise(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.content = content
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.heading)
        column.addWidget(content)
        self.heading.toggled.connect(self._unfold)
        self.heading.setChecked(unfolded)
        self._unfold(unfolded)

    def _unfold(self, unfolded: bool) -> None:
        self.heading.setArrowType(Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow)
        self.content.setVisible(unfolded)
