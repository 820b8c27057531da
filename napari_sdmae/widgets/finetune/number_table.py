"""A small table of numbers: one row per class, one column per number."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_sdmae.humanize import plain
from napari_sdmae.widgets.finetune.report import Rows

MOST_ROWS = 12  # shown without scrolling


class NumbersTable(QTableWidget):
    """Shows numbers by class; hidden while there are none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setMinimumWidth(100)
        self.hide()

    def show_rows(self, rows: Rows) -> None:
        """Show `rows`: class name, then number by name."""
        self.show_texts({of: {name: f"{value:.3f}" for name, value in row.items()} for of, row in rows.items()})

    def show_texts(self, rows: Mapping[str, Mapping[str, str]]) -> None:
        """Show `rows` as they are written."""
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        self.setRowCount(len(rows))
        self.setColumnCount(len(columns))
        self.setVerticalHeaderLabels(list(rows))
        self.setHorizontalHeaderLabels([plain(name) for name in columns])
        for line, row in enumerate(rows.values()):
            for place, name in enumerate(columns):
                item = QTableWidgetItem(row.get(name, "–"))
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(line, place, item)
        self.setVisible(bool(rows and columns))
        self._fit(min(len(rows), MOST_ROWS))

    def _fit(self, rows: int) -> None:
        """Take the height that `rows` need."""
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.resizeRowsToContents()
        needed = sum(self.rowHeight(row) for row in range(rows))
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(header.sizeHint().height() + needed + bar + 2 * self.frameWidth())
