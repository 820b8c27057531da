"""One small editor per kind of setting; each has ``get``, ``set`` and the signal ``edited``.

An editor never alters a value it only shows: what is set comes back from ``get`` unless a person edits it
(the usual spin boxes round 1.5e-4 to 0.00 and 4/3 to 1.33).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QLocale, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QPaintEvent, QValidator, QWheelEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)

from napari_sdmae.humanize import plain

ELIDED_MARGIN = 6
"""Pixels that a style keeps free around the text of a choice."""
DECIMALS = 60  # Qt rounds to this many digits after the point: enough to keep every float of a form exact


class _Modest:
    """Fits a narrow dock; and the wheel scrolls the form, changing a value only where one has clicked."""

    def minimumSizeHint(self) -> QSize:
        """Return less than Qt's own, which makes room for the longest value within bounds."""
        return QSize(70, super().minimumSizeHint().height())  # type: ignore[misc]

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():  # type: ignore[attr-defined]
            super().wheelEvent(event)  # type: ignore[misc]
        else:
            event.ignore()


class IntBox(_Modest, QSpinBox):
    """A whole number within bounds."""

    edited = Signal()

    def __init__(self, low: int = -(2**31), high: int = 2**31 - 1, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRange(low, high)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setStepType(QSpinBox.StepType.AdaptiveDecimalStepType if high - low > 1000 else QSpinBox.StepType.DefaultStepType)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(60)
        self.valueChanged.connect(lambda _: self.edited.emit())

    def get(self) -> int:
        """Return the number."""
        return int(self.value())

    def set(self, value: int) -> None:
        """Show `value`."""
        self.setValue(value)


class FloatBox(_Modest, QDoubleSpinBox):
    """A number within bounds, shown short (also as 1.5e-05) and kept exactly; takes a decimal comma too."""

    edited = Signal()

    def __init__(self, low: float = -1e9, high: float = 1e9, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setLocale(QLocale.c())
        self.setDecimals(DECIMALS)
        self.setRange(low, high)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(60)
        self.valueChanged.connect(lambda _: self.edited.emit())

    def get(self) -> float:
        """Return the number."""
        return float(self.value())

    def set(self, value: float) -> None:
        """Show `value`."""
        self.setValue(value)

    def textFromValue(self, value: float) -> str:
        """Return `value` in at most six digits."""
        return f"{value:.6g}"

    def valueFromText(self, text: str) -> float:
        """Return the number written in `text`; text nobody touched means the exact number it was made from."""
        plain = _plain(text)
        return float(self.value()) if plain == self.textFromValue(self.value()) else float(plain)

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Accept what reads as a number within bounds; anything else may still become one."""
        try:
            good = self.minimum() <= float(_plain(text)) <= self.maximum()
        except ValueError:
            good = False
        return (QValidator.State.Acceptable if good else QValidator.State.Intermediate), text, position

    def stepBy(self, steps: int) -> None:
        """Step by a tenth of the number's own magnitude."""
        value = self.value()
        magnitude = math.floor(math.log10(abs(value))) if value else -1
        step = 10.0 ** (magnitude - 1)
        self.setValue(float(f"{value + steps * step:.6g}"))


def _plain(text: str) -> str:
    return text.strip().replace(",", ".")


class OptionalNumber(QLineEdit):
    """A number, or nothing: empty means "auto". Text that is no number is left for the settings to refuse."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("auto")
        self.setMinimumWidth(60)
        self.textChanged.connect(lambda _: self.edited.emit())

    def get(self) -> int | float | str | None:
        """Return the number, None when empty, or the text that is not a number."""
        text = self.text().strip().replace(",", ".")
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return text or None

    def set(self, value: float | None) -> None:
        """Show `value`; None empties the field."""
        self.setText("" if value is None else f"{value}")


class NumberRow(QWidget):
    """A fixed number of floats side by side, such as a range."""

    edited = Signal()

    def __init__(self, count: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._boxes = [FloatBox(parent=self) for _ in range(count)]
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for box in self._boxes:
            box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)  # three boxes with arrows do not fit a narrow dock
            box.setStyleSheet("min-width: 34px;")  # napari's own style asks for 70
            row.addWidget(box)
            box.edited.connect(self.edited)

    def get(self) -> tuple[float, ...]:
        """Return the numbers."""
        return tuple(box.get() for box in self._boxes)

    def set(self, values: Sequence[float]) -> None:
        """Show `values`."""
        for box, value in zip(self._boxes, values, strict=True):
            box.set(value)


class Choice(_Modest, QComboBox):
    """One of a few words: a sequence of options, or a dictionary of options and how they are called."""

    edited = Signal()

    def __init__(
        self, options: Sequence[Any] | Mapping[Any, str] = (), parent: QWidget | None = None, *, tooltip: str = ""
    ) -> None:
        super().__init__(parent)
        self.setToolTip(tooltip)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(8)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.offer(options)
        self.currentIndexChanged.connect(lambda _: self.edited.emit())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the choice; one that is longer than the box ends in an ellipsis (Qt cuts a letter)."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        room = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        option.currentText = option.fontMetrics.elidedText(
            option.currentText, Qt.TextElideMode.ElideRight, room.width() - ELIDED_MARGIN
        )
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def offer(self, options: Sequence[Any] | Mapping[Any, str]) -> None:
        """Offer other `options`, without a word; what was chosen stays, else the first is chosen."""
        chosen = self.get()
        named = options if isinstance(options, Mapping) else {option: _words(option) for option in options}
        with QSignalBlocker(self):
            self.clear()
            for option, words in named.items():
                self.addItem(words, option)
            self.setCurrentIndex(max(0, self.findData(chosen)) if named else -1)

    def items(self) -> list[tuple[str, Any]]:
        """Return what is offered: how it is called, and what it is."""
        return [(self.itemText(index), self.itemData(index)) for index in range(self.count())]

    def options(self) -> list[Any]:
        """Return what is offered."""
        return [option for _, option in self.items()]

    def get(self) -> Any:
        """Return the chosen option."""
        return self.currentData()

    def set(self, value: Any) -> None:
        """Choose `value`."""
        self.setCurrentIndex(self.findData(value))


def _words(option: Any) -> str:
    return plain(str(option)) or "standard"


class Switch(QCheckBox):
    """Yes or no."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.toggled.connect(lambda _: self.edited.emit())

    def get(self) -> bool:
        """Return whether it is on."""
        return bool(self.isChecked())

    def set(self, value: bool) -> None:
        """Switch on or off."""
        self.setChecked(value)


class TextEdit(QLineEdit):
    """One line of text."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(60)
        self.textChanged.connect(lambda _: self.edited.emit())

    def get(self) -> str:
        """Return the text."""
        return str(self.text()).strip()

    def set(self, value: str) -> None:
        """Show `value`, from its start."""
        self.setText(value)
        self.setCursorPosition(0)


class NumberList(TextEdit):
    """Any number of whole numbers with commas between them; empty is none. Other text is left for the settings to refuse."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("auto")

    def get(self) -> Any:
        """Return the numbers as a tuple, or the text where it is something else."""
        text = str(self.text()).strip()
        try:
            return tuple(int(part) for part in text.replace(";", ",").split(",") if part.strip())
        except ValueError:
            return text

    def set(self, value: Any) -> None:
        """Show the numbers."""
        super().set(", ".join(str(number) for number in value))


class WordList(TextEdit):
    """Any number of names with commas between them; empty is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("none")

    def get(self) -> Any:
        """Return the names as a tuple."""
        return tuple(word for part in str(self.text()).split(",") if (word := part.strip()))

    def set(self, value: Any) -> None:
        """Show the names."""
        super().set(", ".join(value))
