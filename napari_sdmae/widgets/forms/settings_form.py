"""A form for a pydantic model: basic settings open, the others folded into groups."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import groupby
from types import SimpleNamespace
from typing import Any

from magicgui.widgets.bases import ValueWidget
from pydantic import BaseModel
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sdmae.widgets.base.collapsible import CollapsibleSection
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.forms.form_fields import Editor, FormField, fields_of, make_editor
from napari_sdmae.widgets.forms.value_widgets import Rows, value_widget


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
        self._defaults = defaults_of(model)
        self.widgets: dict[str, ValueWidget[Any]] = {}
        self.editors: dict[str, Editor] = {}
        self.labels: dict[str, QLabel] = {}
        self.folds: dict[str, CollapsibleSection] = {}
        self.fields = {field.key: field for field in fields}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._rows([field for field in fields if field.basic]))
        self.more = CollapsibleSection("More settings", self._groups([field for field in fields if not field.basic]), parent=self)
        column.addWidget(self.more)

    def values(self) -> dict[str, Any]:
        """Return what the form shows, nested like the model, not yet validated."""
        result: dict[str, Any] = {}
        for key, widget in self.widgets.items():
            *parents, name = self.fields[key].path
            inner = result
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[name] = widget.value
        return result

    def show_settings(self, settings: BaseModel, *, keep: Iterable[str] = ()) -> None:
        """Show `settings`, apart from those whose dotted names are in `keep`."""
        kept = set(keep)
        with QSignalBlocker(self):
            for key, widget in self.widgets.items():
                if key not in kept:
                    widget.value = value_at(settings, self.fields[key].path)
        self.changed.emit()

    def show_value(self, key: str, value: Any) -> None:
        """Show `value` of the setting with the dotted name `key`, as if a person had edited it."""
        self.widgets[key].value = value

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
            self.folds[title] = CollapsibleSection(title, self._rows(list(members)), parent=holder)
            column.addWidget(self.folds[title])
        self.left_out = text_label(parent=holder)
        self.left_out.hide()
        column.addWidget(self.left_out)
        return holder

    def _rows(self, fields: list[FormField]) -> QWidget:
        rows = Rows([self._widget(field) for field in fields], self)
        rows.changed.connect(lambda _: self.changed.emit())
        self.labels |= rows.titles
        return rows.native

    def _widget(self, field: FormField) -> ValueWidget[Any]:
        editor = make_editor(field, self)
        if not field.info.is_required():
            editor.set(value_at(self._defaults, field.path))
        unit = f" ({field.unit})" if field.unit else ""  # behind the number it would be cut off in a narrow dock
        widget = value_widget(editor, name=field.key, label=f"{field.title}{unit}", tooltip=field.help)
        self.editors[field.key], self.widgets[field.key] = editor, widget
        return widget


def value_at(settings: Any, path: tuple[str, ...]) -> Any:
    """Return the setting at `path`."""
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    return value


def defaults_of(model: type[BaseModel]) -> Any:
    """Return the defaults of `model` as attributes: a group may have other defaults in `model` than by itself."""
    return SimpleNamespace(**{name: info.get_default(call_default_factory=True) for name, info in model.model_fields.items()})
