"""The measurements of many objects as a Qt model: sorted by NumPy, so that thousands of rows take no time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

LABEL = "label"
HIDDEN = ("index",)
"""Columns that only say which label a row belongs to: napari asks for them in a layer's features."""

_NOWHERE = QModelIndex()


class MeasurementModel(QAbstractTableModel):
    """Rows of a table of features, in the order of one column.

    The table is kept as it came; sorting only changes the order in which its rows are shown.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._table = pd.DataFrame()
        self._columns: list[NDArray[Any]] = []
        self._labels: NDArray[np.int64] = np.zeros(0, np.int64)
        self._order: NDArray[np.intp] = np.zeros(0, np.intp)
        self._places: NDArray[np.intp] = np.zeros(0, np.intp)
        self._sorted: tuple[int, Qt.SortOrder] | None = None

    @property
    def table(self) -> pd.DataFrame:
        """The rows as they came."""
        return self._table

    def show_table(self, table: pd.DataFrame) -> None:
        """Show `table`; it stays sorted by the column chosen last, where it has it."""
        names = [name for name in table.columns if name not in HIDDEN]
        wanted = table[sorted(names, key=lambda name: name != LABEL)]
        self.beginResetModel()
        self._table = wanted
        self._columns = [wanted[name].to_numpy() for name in wanted.columns]
        self._labels = _labels(table)
        self._arrange()
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Return the number of rows."""
        return 0 if parent.isValid() else len(self._table)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, and that numbers stand at the right."""
        if role == Qt.ItemDataRole.DisplayRole:
            return as_text(self._columns[index.column()][self._order[index.row()]])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            number = self._columns[index.column()].dtype.kind in "biuf"
            side = Qt.AlignmentFlag.AlignRight if number else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the name of a column: with its unit, also as tooltip."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self._columns):
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return str(self._table.columns[section])
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; rows that are equal keep their order, missing values come last."""
        self.layoutAboutToBeChanged.emit()
        kept = self.persistentIndexList()
        labels = [self.label_at(index.row()) for index in kept]
        self._sorted = (column, order)
        self._arrange()
        moved = [self.index(self.row_of(label), index.column()) for label, index in zip(labels, kept, strict=True)]
        self.changePersistentIndexList(kept, moved)
        self.layoutChanged.emit()

    def label_at(self, row: int) -> int:
        """Return the label of a shown row."""
        return int(self._labels[self._order[row]])

    def row_of(self, label: int) -> int:
        """Return the shown row of a label, -1 if it has none."""
        found = np.flatnonzero(self._labels == label)
        return int(self._places[found[0]]) if len(found) else -1

    def _arrange(self) -> None:
        self._order = np.arange(len(self._table))
        if self._sorted is not None and 0 <= self._sorted[0] < len(self._columns):
            column, order = self._sorted
            self._order = sorting(self._columns[column], order == Qt.SortOrder.DescendingOrder)
        self._places = np.empty_like(self._order)
        self._places[self._order] = np.arange(len(self._order))


def sorting(values: NDArray[Any], descending: bool = False) -> NDArray[np.intp]:
    """Return the order that sorts `values` (N,): stable, words by their letters, missing values last either way."""
    series = pd.Series(values)
    ranks = series.rank(method="dense", ascending=not descending, na_option="bottom")
    return np.argsort(ranks.to_numpy(), kind="stable")


def as_text(value: Any) -> str:
    """Return a measurement as people read it: at most four digits, nothing where there is no value."""
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return "" if np.isnan(number) else f"{number:.4g}" if abs(number) < 1e4 else f"{number:.0f}"
    return "" if value is None else str(value)


def _labels(table: pd.DataFrame) -> NDArray[np.int64]:
    """Return which label each row belongs to: the column ``label``, else ``index``, else its place."""
    for name in (LABEL, *HIDDEN):
        if name in table.columns:
            return table[name].to_numpy(np.int64)
    return np.arange(len(table), dtype=np.int64)


def without_measurements(table: pd.DataFrame) -> bool:
    """Tell whether `table` says no more of its rows than which they are."""
    return not len(table) or not set(table.columns) - {*HIDDEN, LABEL, "class"}
