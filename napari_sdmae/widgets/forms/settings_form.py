"""A form for a pydantic model: basic settings open, the others folded into groups."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_sdmae.widgets.base.collapsible import Fold
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.forms.editors import Choice, NumberList, NumberRow, TextEdit
from napari_sdmae.widgets.forms.form_fields import Editor, FormField, fields_of, make_editor
from napari_sdmae.widgets.forms.path_edit import FolderEdit

LONGEST_WORD = 11  # letters of a choice that fit beside its label


class SettingsForm(QWidget):
    """Edits the settings of `model`; whatever is set comes back unchanged unless a person edits it.

    Parameters
    ----------
    model
        The settings' class: titles, bounds, units and tooltips come from its fields.
    skip
        Dotted names of settings that are edited elsewhere.

    Notes
    -----
    ``changed`` is emitted once per edit, and once per :meth:`show_settings`.
    """

    changed = Signal()

    def __init__(self, model: type[BaseModel], *, skip: Iterable[str] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        fields = list(fields_of(model, skip=frozenset(skip)))
        self._model = model
        self.editors: dict[str, Editor] = {}
        self.labels: dict[str, QLabel] = {}
        self.folds: dict[str, Fold] = {}
        self.fields = {field.key: field for field in fields}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._rows([field for field in fields if field.basic]))
        self.more = Fold("More settings", self._groups([field for field in fields if not field.basic]), parent=self)
        column.addWidget(self.more)

    def values(self) -> dict[str, Any]:
        """Return what the form shows, nested like the model, not yet validated."""
        result: dict[str, Any] = {}
        for key, editor in self.editors.items():
            *parents, name = self.fields[key].path
            inner = result
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[name] = editor.get()
        return result

    def show_settings(self, settings: BaseModel, *, keep: Iterable[str] = ()) -> None:
        """Show `settings`, apart from those whose dotted names are in `keep`."""
        kept = set(keep)
        with QSignalBlocker(self):
            for key, editor in self.editors.items():
                if key not in kept:
                    editor.set(value_at(settings, self.fields[key].path))
        self.changed.emit()

    def show_value(self, key: str, value: Any) -> None:
        """Show `value` of the setting with the dotted name `key`, as if a person had edited it."""
        editor: Any = self.editors[key]
        editor.set(value)

    def leave_out(self, keys: Collection[str], reason: str = "") -> None:
        """Hide the settings with these dotted names, keeping their values, and say the `reason` with their titles."""
        for key, editor in self.editors.items():
            for widget in (self.labels[key], editor):
                widget.setVisible(key not in keys)
        for group, fold in self.folds.items():
            members = [key for key, field in self.fields.items() if field.group == group and not field.basic]
            fold.setVisible(any(key not in keys for key in members))
        hidden = ", ".join(field.title for key, field in self.fields.items() if key in keys)
        self.left_out.setText(f"{reason}: {hidden}." if hidden else "")
        self.left_out.setVisible(bool(hidden))

    def _groups(self, fields: list[FormField]) -> QWidget:
        holder = QWidget(self)
        column = QVBoxLayout(holder)
        column.setContentsMargins(8, 0, 0, 0)
        for title, members in groupby(fields, key=lambda field: field.group):
            self.folds[title] = Fold(title, self._rows(list(members)), parent=holder)
            column.addWidget(self.folds[title])
        self.left_out = text_label(parent=holder)
        self.left_out.hide()
        column.addWidget(self.left_out)
        return holder

    def _rows(self, fields: list[FormField]) -> QWidget:
        holder = QWidget(self)
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        for column, width in enumerate((92, 114)):  # in this proportion, however long a label or an editor would like to be
            grid.setColumnStretch(column, width)
            grid.setColumnMinimumWidth(column, width)
        for field in fields:
            self._add_row(grid, field, holder)
        return holder

    def _add_row(self, grid: QGridLayout, field: FormField, holder: QWidget) -> None:
        editor = make_editor(field, holder)
        unit = f" ({field.unit})" if field.unit else ""  # behind the number it would be cut off in a narrow dock
        label = text_label(f"{breakable(field.title)}{unit}", holder)
        for widget in (label, editor):
            widget.setToolTip(field.help)
        if not field.info.is_required():
            editor.set(default_at(self._model, field.path))
        editor.edited.connect(self.changed)
        self.editors[field.key], self.labels[field.key] = editor, label
        row = grid.rowCount()
        if _is_wide(editor):
            grid.addWidget(label, row, 0, 1, 2)
            grid.addWidget(editor, row + 1, 0, 1, 2)
        else:
            grid.addWidget(label, row, 0)
            grid.addWidget(editor, row, 1)


def _is_wide(editor: Editor) -> bool:
    """Return whether `editor` needs more room than half a narrow dock."""
    if isinstance(editor, Choice):
        return max(len(editor.itemText(index)) for index in range(editor.count())) > LONGEST_WORD
    return isinstance(editor, FolderEdit | NumberRow | TextEdit) and not isinstance(editor, NumberList)


def breakable(title: str) -> str:
    """Return `title` with an invisible place to break before a capital inside a word, as in RandAugment."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "\u200b", title)


def value_at(settings: BaseModel, path: tuple[str, ...]) -> Any:
    """Return the setting at `path`."""
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    return value


def default_at(model: type[BaseModel], path: tuple[str, ...]) -> Any:
    """Return the default of the setting at `path`: a group may have other defaults in `model` than by itself."""
    value: Any = model.model_fields[path[0]].get_default(call_default_factory=True)
    for name in path[1:]:
        value = getattr(value, name)
    return value
