"""What a form shows, read from a pydantic model: one entry per setting, with its bounds, unit and group."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtWidgets import QWidget

from napari_sdmae.humanize import plain
from napari_sdmae.text.errors import problem_line
from napari_sdmae.widgets.forms.editors import (
    Choice,
    FloatBox,
    IntBox,
    NumberList,
    NumberRow,
    OptionalNumber,
    Switch,
    TextEdit,
    WordList,
)
from napari_sdmae.widgets.forms.path_edit import FolderEdit

Editor = Choice | FloatBox | FolderEdit | IntBox | NumberList | NumberRow | OptionalNumber | Switch | TextEdit | WordList


@dataclass(frozen=True)
class FormField:
    """One setting: `path` leads to it from the model, such as ``("optimizer", "base_lr")``."""

    path: tuple[str, ...]
    group: str
    info: FieldInfo

    @property
    def key(self) -> str:
        """Dotted name, as on the command line and in messages of pydantic."""
        return ".".join(self.path)

    @property
    def title(self) -> str:
        """Name shown in the form."""
        return self.info.title or plain(self.path[-1])

    @property
    def basic(self) -> bool:
        """Whether it is shown unfolded."""
        return bool(self._extra("basic"))

    @property
    def unit(self) -> str:
        """Unit shown behind the title."""
        return str(self._extra("unit") or "")

    @property
    def help(self) -> str:
        """Tooltip: what it does, and its name on the command line."""
        return f"{self.info.description or self.title}\n(--{self.key.replace('_', '-')})"

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Least and greatest value, None where there is no bound."""
        return self._bound("ge", "gt"), self._bound("le", "lt")

    def _bound(self, *names: str) -> float | None:
        given = (getattr(item, name, None) for item in self.info.metadata for name in names)
        return next((bound for bound in given if bound is not None), None)

    def _extra(self, name: str) -> Any:
        extra = self.info.json_schema_extra
        return extra.get(name) if isinstance(extra, dict) else None


def fields_of(
    model: type[BaseModel], *, skip: frozenset[str] = frozenset(), group: str = "Training", path: tuple[str, ...] = ()
) -> Iterator[FormField]:
    """Yield the settings of `model` and of the models inside it, without those whose dotted name is in `skip`."""
    for name, info in model.model_fields.items():
        here = (*path, name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from fields_of(info.annotation, skip=skip, group=info.title or name, path=here)
        elif ".".join(here) not in skip:
            yield FormField(here, group, info)


def make_editor(field: FormField, parent: QWidget | None = None) -> Editor:
    """Return the editor for `field`.

    Raises
    ------
    TypeError
        If the form has no editor for the type of the field.
    """
    kind, optional = _plain_type(field.info.annotation)
    low, high = field.bounds
    if kind is bool:
        return Switch(parent)
    if kind in (int, float) and optional:
        return OptionalNumber(parent=parent)
    if kind is int:
        return IntBox(*_given(low=low, high=high, kind=int), parent=parent)
    if kind is float:
        return FloatBox(*_given(low=low, high=high, kind=float), parent=parent)
    if kind is Path:
        return FolderEdit(field.title, parent)
    if kind is str:
        return TextEdit(parent)
    if get_origin(kind) is Literal:
        return Choice(get_args(kind), parent)
    if get_origin(kind) is tuple and get_args(kind) == (int, ...):
        return NumberList(parent)
    if get_origin(kind) is tuple and get_args(kind) == (str, ...):
        return WordList(parent)
    if get_origin(kind) is tuple and set(get_args(kind)) == {float}:
        return NumberRow(len(get_args(kind)), parent)
    raise TypeError(
        f"setting {field.key} is of type {field.info.annotation}; the form edits bool, int, float, str, Path, "
        "Literal, tuples of float or of any number of int or str, and int | None, float | None, Path | None"
    )


def problems(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return what is wrong with the settings, one line each, with the names of the form."""
    titles = {field.key: field.title for field in fields_of(model)}
    keys = [".".join(map(str, item["loc"])) for item in error.errors()]
    return [problem_line(item, name=titles.get(key, "")) for item, key in zip(error.errors(), keys, strict=True)]


def _plain_type(annotation: Any) -> tuple[Any, bool]:
    """Return the type without None, and whether None was allowed."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    others = [option for option in get_args(annotation) if option is not types.NoneType]
    return (others[0] if len(others) == 1 else annotation), len(others) < len(get_args(annotation))


def _given(*, low: float | None, high: float | None, kind: type) -> tuple[Any, Any]:
    widest = (-(2**31), 2**31 - 1) if kind is int else (-1e9, 1e9)
    return kind(widest[0] if low is None else low), kind(widest[1] if high is None else high)
