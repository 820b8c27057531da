"""A line of text in a narrow dock: while nobody writes in it, what does not fit is an ellipsis, not half a letter.

superqt's QElidingLineEdit shortens its text itself, which a combo box would then take for what is chosen.
"""

from __future__ import annotations

from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QPaintEvent, QPalette
from qtpy.QtWidgets import QLineEdit, QStyle, QStyleOptionFrame, QStylePainter, QWidget

MARGIN = 2  # px that Qt leaves beside the text of a line


class ElidedLine(QLineEdit):
    """Shows the beginning of a long text, or with ``elide_left`` its end, as of a path."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._mode = Qt.TextElideMode.ElideRight

    def elide_left(self, left: bool) -> None:
        """Leave out the beginning of a long text, not its end."""
        self._mode = Qt.TextElideMode.ElideLeft if left else Qt.TextElideMode.ElideRight
        self.setCursorPosition(len(self.text()) if left else 0)
        self.update()

    def shown_text(self) -> str:
        """Return what is seen while nobody writes."""
        return str(self.fontMetrics().elidedText(self.text(), self._mode, self._room().width()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint frame and text; Qt does while it is written in, or where all fits."""
        if self.hasFocus() or self.shown_text() == self.text():
            super().paintEvent(event)
            return
        option = QStyleOptionFrame()
        self.initStyleOption(option)
        painter = QStylePainter(self)
        painter.drawPrimitive(QStyle.PrimitiveElement.PE_PanelLineEdit, option)
        room, metrics = self._room(), self.fontMetrics()
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        baseline = room.y() + (room.height() - metrics.height() + 1) // 2 + metrics.ascent()  # as Qt places it
        painter.drawText(room.x(), baseline, self.shown_text())

    def _room(self) -> QRect:
        option = QStyleOptionFrame()
        self.initStyleOption(option)
        contents = self.style().subElementRect(QStyle.SubElement.SE_LineEditContents, option, self)
        margins = self.textMargins()
        return contents.adjusted(MARGIN + margins.left(), margins.top(), -MARGIN - margins.right(), -margins.bottom())
