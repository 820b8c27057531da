"""Presets in words, and settings in YAML files people name."""

from __future__ import annotations

from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from napari_sdmae.config.base import Settings
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.text.documents import read_yaml
from napari_sdmae.widgets.forms.form_fields import problems


def preset_note(name: str, folder: str = "presets") -> str:
    """Return the comment above the shipped preset `name`, which says what it is for."""
    text = resources.files("napari_sdmae.resources").joinpath(folder, f"{name}.yaml").read_text(encoding="utf-8")
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def read_settings(path: Path, kind: type[Settings] = PretrainConfig) -> tuple[Any, str]:
    """Return the settings (`kind`) in the YAML file `path`, or None and what is wrong with it.

    A file without ``data`` is settings for any images; its data is then ``Path()``.
    """
    try:
        values = read_yaml(path)
    except (OSError, ValueError) as error:
        return None, f"{path.name} cannot be read: {' '.join(str(error).split())}"
    if not isinstance(values, dict):
        return None, f'{path.name} holds no settings: expected lines such as "epochs: 100"'
    try:
        return kind.model_validate({"data": "."} | values), ""
    except ValidationError as error:
        lines = "\n".join(problems(error, kind))
        return None, f"{path.name} was not loaded, and the form is as it was:\n{lines}"


def write_settings(path: Path, values: dict[str, Any], data: Path | None, kind: type[Settings] = PretrainConfig) -> str:
    """Write the settings `values` to the YAML file `path`, without the images where there are none; return what went wrong."""
    try:
        config = kind.model_validate(values | {"data": data or Path()})
    except ValidationError as error:
        return "The settings were not saved:\n" + "\n".join(problems(error, kind))
    kept = config.model_dump(mode="json", exclude=set() if data else {"data"})
    try:
        write_atomically(path, yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        return f"The settings were not saved: {error}"
    return ""
