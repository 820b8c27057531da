"""The classes that are painted: add, rename, recolour, remove, choose the one that the brush paints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QFontMetrics
from qtpy.QtWidgets import (
    QButtonGroup,
    QColorDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QRadioButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_sdmae.humanize import several
from napari_sdmae.labels.label_map import LabelClass, colour_of, make_classes

LARGEST = 255
"""Strokes are kept in one byte per pixel."""
FIRST = make_classes(["Class 1", "Class 2"], first=1)


class ClassRow(QWidget):
    """One class: chosen or not, colour, name, number of strokes, remove."""

    renamed = Signal(str)
    recoloured = Signal(object)
    removed = Signal()

    def __init__(self, one: LabelClass, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.value = one.value
        self.choose = QRadioButton(self)
        self.choose.setToolTip("Paint this class.")
        self.swatch = QToolButton(self)
        self.swatch.setToolTip("Choose another colour.")
        self.swatch.setFixedSize(22, 22)
        self.name = QLineEdit(self)
        self.name.setToolTip("Name of the class, as in the saved head and in exports.")
        self.name.setMinimumWidth(60)
        self.count = QLabel(self)
        self.count.setMinimumWidth(QFontMetrics(self.count.font()).horizontalAdvance("000 strokes"))
        self.remove = QToolButton(self)
        self.remove.setText("✕")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for widget in (self.choose, self.swatch, self.name, self.count, self.remove):
            row.addWidget(widget, 1 if widget is self.name else 0)
        self.name.editingFinished.connect(lambda: self.renamed.emit(self.name.text().strip()))
        self.swatch.clicked.connect(self._ask_colour)
        self.remove.clicked.connect(lambda: self.removed.emit())
        self.show_class(one)

    def show_class(self, one: LabelClass) -> None:
        """Show name and colour."""
        self._colour = QColor(*one.colour)
        self.swatch.setStyleSheet(f"background: {self._colour.name()}; border: 1px solid palette(mid); border-radius: 3px;")
        if self.name.text() != one.name:
            self.name.setText(one.name)
            self.name.setCursorPosition(0)

    def show_count(self, strokes: int | None) -> None:
        """Show the number of strokes; None while it is not known."""
        self.count.setText("" if strokes is None else several(strokes, "stroke", "strokes"))

    def _ask_colour(self) -> None:
        colour = QColorDialog.getColor(self._colour, self, f"Colour of {self.name.text()}")
        if colour.isValid():
            self.recoloured.emit((colour.red(), colour.green(), colour.blue()))


class ClassList(QWidget):
    """The classes, one below the other.

    Emits ``changed`` when classes, names or colours change, ``removed`` with the value of a class that goes, before ``changed``,
    and ``chosen`` with the value of the class to paint.
    """

    changed = Signal()
    removed = Signal(int)
    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[ClassRow] = []
        self._classes: list[LabelClass] = []
        self._group = QButtonGroup(self)
        self._column = QVBoxLayout()
        self._column.setSpacing(3)
        self.add_button = QToolButton(self)
        self.add_button.setText("+ Add class")
        self.add_button.setToolTip("Add a class to paint.")
        self.add_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._column)
        column.addWidget(self.add_button, alignment=Qt.AlignmentFlag.AlignLeft)
        self.add_button.clicked.connect(lambda: self.add())
        self._group.buttonClicked.connect(lambda _: self.chosen.emit(self.value))
        self.set(FIRST)

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes in the order of their values."""
        return tuple(self._classes)

    @property
    def value(self) -> int:
        """Value of the chosen class; 0 if there is none."""
        return next((row.value for row in self.rows if row.choose.isChecked()), 0)

    def set(self, classes: Sequence[LabelClass]) -> None:
        """Show `classes`; the first is chosen."""
        for row in self.rows:
            self._drop(row)
        self.rows, self._classes = [], sorted(classes, key=lambda one: one.value)
        for one in self._classes:
            self._show(one)
        if self.rows:
            self.rows[0].choose.setChecked(True)
        self._tell()

    def add(self, name: str = "") -> LabelClass:
        """Add a class, choose it and return it.

        Raises
        ------
        ValueError
            If there are too many.
        """
        used = {one.value for one in self._classes}
        value = next((value for value in range(1, LARGEST + 1) if value not in used), None)
        if value is None:
            raise ValueError(f"there are {LARGEST} classes already")
        one = LabelClass(value=value, name=self._free(name or f"Class {value}"), colour=colour_of(value))
        self._classes = sorted([*self._classes, one], key=lambda other: other.value)
        row = self._show(one)
        row.choose.setChecked(True)
        self._tell()
        self.chosen.emit(value)
        return one

    def choose(self, value: int) -> None:
        """Choose the class of `value`, if there is one; emits nothing."""
        for row in self.rows:
            if row.value == value:
                row.choose.setChecked(True)

    def show_counts(self, counts: Mapping[int, int]) -> None:
        """Show the number of strokes per class value."""
        for row in self.rows:
            row.show_count(counts.get(row.value, 0))

    def _show(self, one: LabelClass) -> ClassRow:
        row = ClassRow(one, self)
        self.rows.append(row)
        self._group.addButton(row.choose)
        self._column.addWidget(row)
        row.renamed.connect(lambda name: self._change(row, name=name))
        row.recoloured.connect(lambda colour: self._change(row, colour=colour))
        row.removed.connect(lambda: self._remove(row))
        return row

    def _change(self, row: ClassRow, **values: Any) -> None:
        index = next(index for index, one in enumerate(self._classes) if one.value == row.value)
        before = self._classes[index]
        if "name" in values:
            values["name"] = self._free(values["name"], row.value) if values["name"] else before.name
        after = before.model_copy(update=values)
        row.show_class(after)
        if after != before:
            self._classes[index] = after
            self._tell()

    def _remove(self, row: ClassRow) -> None:
        self.rows.remove(row)
        self._classes = [one for one in self._classes if one.value != row.value]
        chosen = row.choose.isChecked()
        self._drop(row)
        self.removed.emit(row.value)
        if chosen and self.rows:
            self.rows[0].choose.setChecked(True)
            self.chosen.emit(self.value)
        self._tell()

    def _drop(self, row: ClassRow) -> None:
        self._group.removeButton(row.choose)
        self._column.removeWidget(row)
        row.hide()
        row.deleteLater()

    def _free(self, name: str, but: int = 0) -> str:
        """Return `name`, with a number behind it if another class is called so."""
        taken = {one.name for one in self._classes if one.value != but}
        found, number = name, 2
        while found in taken:
            found, number = f"{name} {number}", number + 1
        return found

    def _tell(self) -> None:
        for row in self.rows:
            row.remove.setEnabled(len(self.rows) > 2)
            row.remove.setToolTip(
                "Remove this class and its strokes (Undo in the strokes layer brings the strokes back)."
                if len(self.rows) > 2
                else "Two classes are needed: add another before you remove this one."
            )
        self.changed.emit()
