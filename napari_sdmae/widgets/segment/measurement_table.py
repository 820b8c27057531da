"""The table of measurements: sortable, one row per object, saved as CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from qtpy.QtCore import QItemSelection, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_sdmae.humanize import several
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.text.tables import table_bytes
from napari_sdmae.widgets.base.dialogs import ask_overwrite
from napari_sdmae.widgets.base.dock import set_text
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.segment.measurement_model import MeasurementModel, without_measurements

ROWS_SHOWN = 8
EMPTY = "No measurements yet."


class MeasurementTable(QWidget):
    """Shows the features of a layer, tells which row a person chose, and shows the row of an object.

    Emits ``label_chosen(int)`` when a person chooses a row, ``failed(str)`` when the file cannot be written,
    and ``saved(str)`` with the file that was.
    """

    label_chosen = Signal(int)
    failed = Signal(str)
    saved = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = MeasurementModel(self)
        self.view = QTableView(self)
        self.view.setModel(self.model)
        self.view.setSortingEnabled(True)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setWordWrap(False)
        self.view.setMinimumWidth(100)
        self.view.verticalHeader().hide()
        self.view.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.count = text_label(EMPTY, self)
        self.save_button = QPushButton("Save as CSV…", self)
        self.save_button.setToolTip("Write all rows and columns; units are in the names of the columns.")
        self.save_button.setEnabled(False)
        self.suggested = Path("measurements.csv")
        self._quiet = False
        self._lay_out()
        self.view.selectionModel().selectionChanged.connect(self._chosen)
        self.save_button.clicked.connect(self._browse)

    def show_table(self, table: pd.DataFrame, one: str = "row", more: str = "rows") -> None:
        """Show `table`, said to have so many rows, each `one` of `more`; the chosen row stays chosen where it is still there."""
        label = self.chosen
        empty = without_measurements(table)
        self._quiet = True
        self.model.show_table(table.iloc[:0] if empty else table)
        self._quiet = False
        self.save_button.setEnabled(not empty)
        set_text(self.count, EMPTY if empty else f"{several(len(table), one, more)}. Click a row to see it in the picture.")
        self.view.setVisible(not empty)
        self._fit(len(table))
        for column in range(self.model.columnCount()):
            self.view.setColumnWidth(column, self._width(column))
        if label is not None:
            self.choose(label)

    def wait(self, why: str) -> None:
        """Say `why` the table is out of date; it is not written to a file until the next one is shown."""
        set_text(self.count, why)
        self.save_button.setEnabled(False)

    @property
    def chosen(self) -> int | None:
        """The label of the chosen row, or None."""
        rows = self.view.selectionModel().selectedRows()
        return self.model.label_at(rows[0].row()) if rows else None

    def choose(self, label: int) -> None:
        """Choose the row of `label` and scroll to it, without telling; one without a row chooses none."""
        row = self.model.row_of(label)
        self._quiet = True
        if row < 0:
            self.view.clearSelection()
        else:
            self.view.selectRow(row)
            self.view.scrollTo(self.model.index(row, 0))
        self._quiet = False

    def save(self, path: Path) -> None:
        """Write the table as CSV, rows in the order they came.

        Raises
        ------
        OSError
            If it cannot be written; a file that was there is still whole.
        """
        write_atomically(path, table_bytes(self.model.table))

    def _browse(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Save the measurements", str(self.suggested), "CSV (*.csv)")
        if not chosen:
            return
        path = Path(chosen) if Path(chosen).suffix else Path(f"{chosen}.csv")
        if path != Path(chosen) and path.exists() and not ask_overwrite(self, f"“{path.name}”"):
            return
        try:
            self.save(path)
        except OSError as error:
            self.failed.emit(f"The measurements could not be written: {error}. Choose another folder.")
            return
        self.saved.emit(str(path))

    def _chosen(self, _selected: QItemSelection, _deselected: QItemSelection) -> None:
        if not self._quiet and self.chosen is not None:
            self.label_chosen.emit(self.chosen)

    def _width(self, column: int) -> int:
        """Return room for the column's name and its first values; all of 50 000 rows would take seconds."""
        texts = [str(self.model.headerData(column, Qt.Orientation.Horizontal))]
        texts += [str(self.model.index(row, column).data()) for row in range(min(20, self.model.rowCount()))]
        metrics = self.view.fontMetrics()
        return min(240, max(int(metrics.horizontalAdvance(text)) for text in texts) + 28)

    def _fit(self, rows: int) -> None:
        """Take the height of the header and so many `rows`, at most :data:`ROWS_SHOWN`: the rest scrolls."""
        height = self.view.verticalHeader().defaultSectionSize()
        bar = self.view.horizontalScrollBar().sizeHint().height()
        self.view.setFixedHeight(height * (min(rows, ROWS_SHOWN) + 1) + bar + 4)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.count, 1)
        row.addWidget(self.save_button, alignment=Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.view)
        column.addLayout(row)
        self.view.hide()
