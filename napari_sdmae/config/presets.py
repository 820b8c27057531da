"""The shipped presets, of pre-training and of fine-tuning: nested dictionaries of the values that they change.

A preset for a data set names the preset it changes (``based_on``) and holds only what the data set decides, so that a better
default reaches it; ours leave ``loss`` out. For PCam, pre-training crops at least 60 % of the tile with sides of 3:4 to 4:3,
so that every crop shows the middle 32 px (20,000 crops tested), and heads never crop. Heads for NCT-CRC-HE fix both scales at
0.5 µm/px, so that a tile is seen whole.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from napari_sdmae.config.base import merge
from napari_sdmae.moved import renamed

DEFAULT_PRESET = "vit-small"
DEFAULT_HEAD_PRESET = "nuclei"
BASED_ON = "based_on"
"""In the file of a preset: the preset whose values it changes."""


def preset_names() -> list[str]:
    """Return the names of the shipped presets of pre-training, default first."""
    return _names(DEFAULT_PRESET)


def load_preset(name: str) -> dict[str, Any]:
    """Return the shipped preset `name` as a nested dictionary of the values it changes.

    Raises
    ------
    ValueError
        If there is no such preset; the message lists those there are.
    """
    return _load(name, preset_names())


def head_preset_names() -> list[str]:
    """Return the names of the shipped presets of fine-tuning, default first."""
    return _names(DEFAULT_HEAD_PRESET, "heads")


def load_head_preset(name: str) -> dict[str, Any]:
    """Return the shipped preset `name` as a nested dictionary of the values it changes.

    It has a task, no data, and the model to begin with where the package has one.

    Raises
    ------
    ValueError
        If there is no such preset; the message lists those there are.
    """
    return _load(name, head_preset_names(), "heads")


def _names(default: str, *folders: str) -> list[str]:
    files = resources.files("napari_sdmae.resources").joinpath("presets", *folders).iterdir()
    names = sorted(item.name.removesuffix(".yaml") for item in files if item.name.endswith(".yaml"))
    return sorted(names, key=lambda name: name != default)


def _load(name: str, names: list[str], *folders: str) -> dict[str, Any]:
    """Return the values of a preset laid over those of the preset that its ``based_on`` names, if it names one."""
    if name not in names:
        raise ValueError(f"no preset {name!r}; there are: {', '.join(names)}")
    file = resources.files("napari_sdmae.resources").joinpath("presets", *folders, f"{name}.yaml")
    values = dict(yaml.safe_load(file.read_text(encoding="utf-8")))
    base = values.pop(BASED_ON, None)
    return values if base is None else merge(_load(base, names, *folders), values)


__getattr__ = renamed(__name__, from_head_preset="config.finetune:FinetuneConfig.from_preset")
