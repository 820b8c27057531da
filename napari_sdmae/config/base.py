"""What all settings have in common: one definition for the form, the command line, YAML and the checkpoint.

Every field carries what a form needs: a title, bounds, a description and, where there is one, a unit. ``basic`` marks the few
fields shown unfolded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field

from napari_sdmae.text import documents

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def setting(default: Any, title: str, description: str, *, unit: str = "", basic: bool = False, **bounds: Any) -> Any:
    """Describe one setting for form, command line and YAML.

    Parameters
    ----------
    default
        Value when nothing is given; ``...`` makes the field required.
    title
        Name shown in the form, in a pathologist's words.
    description
        Tooltip and command-line help.
    unit
        Unit shown behind the field, such as ``px`` or ``µm/px``.
    basic
        Shown without unfolding "More settings".
    **bounds
        Passed to :func:`pydantic.Field`, e.g. ``ge`` and ``le``.
    """
    extra: dict[str, Any] = {"unit": unit, "basic": basic}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


class Settings(BaseModel):
    """Base of all settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSettings(Settings):
    """Settings of a whole run, kept beside it as YAML."""

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read settings written by :meth:`to_yaml`; an unknown key is an error, as in :func:`read_yaml` what is no YAML."""
        return cls.model_validate(read_yaml(path))

    def to_yaml(self) -> str:
        """Return the settings as YAML text in the order of the form."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no YAML, or beyond the limits of :mod:`napari_sdmae.text.documents`; the message names the file and, where it is
        known, the line.
    """
    try:
        return documents.read_yaml(path)
    except documents.DocumentError as error:
        raise ValueError(f"{path}, {error}") from None


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, dictionary by dictionary."""
    result = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if nested else value
    return result
