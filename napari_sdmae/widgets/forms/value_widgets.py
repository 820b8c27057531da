"""Our editors as magicgui value widgets, and the rows of a form as a magicgui container.

The editors stay ours because magicgui's lose values or room: its float box shows 1.5e-4 as 0.0 and 4/3 as 1.33, None becomes 0,
``tuple[int, ...]`` raises, ``FileEdit`` makes a relative path absolute and takes no drops, the wheel changes a combo box while
one scrolls, and its container gives labels the width of the longest, which a dock of 300 px does not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from magicgui.backends._qtpy import widgets as qt  # what a widget of one's own is built on
from magicgui.widgets import CheckBox, ComboBox, LineEdit
from magicgui.widgets.bases import ButtonWidget, CategoricalWidget, ContainerWidget, ValueWidget
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_sdmae.widgets.forms.editors import Choice, NumberList, NumberRow, Switch, TextEdit
from napari_sdmae.widgets.forms.path_edit import FolderEdit

LONGEST_WORD = 11  # letters of a choice that fit beside its label
COLUMNS = (92, 114)  # px, and their proportion, however long a label or an editor would like to be


class _Backend(qt.QBaseValueWidget):
    """An editor (``get``, ``set``, ``edited``) behind a magicgui widget.

    magicgui's event filter, which tells of another parent, is taken off: nothing here needs it, and a call of Python for each
    event of each editor makes a form open slowly.
    """

    def __init__(self, editor: QWidget, parent: QWidget | None = None) -> None:
        def made(parent: QWidget | None) -> QWidget:
            return editor

        qt.QBaseValueWidget.__init__(self, made, "get", "set", "edited", parent=parent)
        editor.removeEventFilter(self._event_filter)

    def _mgui_bind_change_callback(self, callback: Callable[[Any], None]) -> None:
        editor: Any = self._qwidget
        editor.edited.connect(lambda: callback(editor.get()))


class _ChoiceBackend(_Backend, qt.ComboBox):
    """The same with choices."""


class _SwitchBackend(_Backend, qt.CheckBox):
    """The same with a text, which the rows of a form leave empty."""

    def __init__(self, editor: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(editor, parent)
        self._icon = None


class EditorValue(ValueWidget[Any]):
    """The value of an exact number, a list, a path, or of any of them that may be empty (None)."""

    def __init__(self, editor: QWidget, **kwargs: Any) -> None:
        super().__init__(widget_type=_Backend, backend_kwargs={"editor": editor}, nullable=True, **kwargs)


class TextValue(LineEdit):
    """The value of a line of text."""

    def __init__(self, editor: TextEdit, **kwargs: Any) -> None:
        ValueWidget.__init__(self, widget_type=_Backend, backend_kwargs={"editor": editor}, **kwargs)


class SwitchValue(CheckBox):
    """Yes or no."""

    def __init__(self, editor: Switch, **kwargs: Any) -> None:
        ButtonWidget.__init__(self, widget_type=_SwitchBackend, backend_kwargs={"editor": editor}, **kwargs)
        editor.setText("")  # magicgui puts the label there, which stands before it already


class ChoiceValue(ComboBox):
    """One of the options of `editor`, or of what `offered` returns each time the choices are reset.

    What is chosen stays chosen while it is offered, whatever it is called by then (magicgui goes by the names).
    """

    def __init__(self, editor: Choice, offered: Callable[[], list[tuple[str, Any]]] | None = None, **kwargs: Any) -> None:
        self._offered = offered or editor.items
        CategoricalWidget.__init__(
            self, widget_type=_ChoiceBackend, backend_kwargs={"editor": editor}, nullable=True, choices=editor.items(), **kwargs
        )

    def reset_choices(self, *_: Any) -> None:
        """Offer what there is now; ``changed`` comes only where what was chosen is gone."""
        items, editor = self._offered(), self.native
        if items == editor.items():
            return
        chosen = editor.get()
        with QSignalBlocker(editor):
            editor.offer({})
            for text, option in items:
                editor.addItem(text, option)
            index = next((index for index, (_, option) in enumerate(items) if _same(option, chosen)), 0)
            editor.setCurrentIndex(index if items else -1)
        if not _same(editor.get(), chosen):
            editor.edited.emit()


def _same(one: Any, other: Any) -> bool:
    """Return whether two options are one: Qt returns an equal text, not the one that was given."""
    return one is other or bool(one == other)


def value_widget(editor: Any, **kwargs: Any) -> ValueWidget[Any]:
    """Return the magicgui widget of `editor`; `kwargs` are its ``name``, ``label`` and ``tooltip``."""
    if isinstance(editor, Choice):
        return ChoiceValue(editor, **kwargs)
    if isinstance(editor, Switch):
        return SwitchValue(editor, **kwargs)
    return TextValue(editor, **kwargs) if type(editor) is TextEdit else EditorValue(editor, **kwargs)


class _RowsBackend(qt.Container):
    """Two columns of fixed proportion; an editor that needs more room stands below its label."""

    def __init__(self, layout: str = "vertical", scrollable: bool = False, **kwargs: Any) -> None:
        qt.QBaseWidget.__init__(self, QWidget, **kwargs)
        self._qwidget.removeEventFilter(self._event_filter)
        self.titles: dict[str, QLabel] = {}
        self._layout = QGridLayout(self._qwidget)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setVerticalSpacing(4)
        for column, width in enumerate(COLUMNS):
            self._layout.setColumnStretch(column, width)
            self._layout.setColumnMinimumWidth(column, width)

    def _mgui_insert_widget(self, position: int, widget: Any) -> None:
        """Append a row: settings keep their order."""
        title = QLabel(breakable(widget.label), self._qwidget)
        title.setWordWrap(True)
        title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        title.setToolTip(widget.tooltip)
        title.setBuddy(widget.native)
        self.titles[widget.name] = title
        row, wide = self._layout.rowCount(), _is_wide(widget.native)
        self._layout.addWidget(title, row, 0, 1, 2 if wide else 1)
        self._layout.addWidget(widget.native, row + wide, 0 if wide else 1, 1, 2 if wide else 1)


class Rows(ContainerWidget[Any]):
    """Settings one below the other: each label wraps beside its editor."""

    def __init__(self, widgets: Sequence[ValueWidget[Any]], parent: QWidget) -> None:
        super().__init__(widgets, labels=False, widget_type=_RowsBackend, parent=parent)

    @property
    def titles(self) -> dict[str, QLabel]:
        """The labels, by the names of the settings."""
        backend: Any = self._widget
        return dict(backend.titles)


def _is_wide(editor: QWidget) -> bool:
    """Return whether `editor` needs more room than half a narrow dock."""
    if isinstance(editor, Choice):
        return max(len(text) for text, _ in editor.items()) > LONGEST_WORD
    return isinstance(editor, FolderEdit | NumberRow | TextEdit) and not isinstance(editor, NumberList)


def breakable(title: str) -> str:
    """Return `title` with an invisible place to break before a capital inside a word, as in RandAugment."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "\u200b", title)
