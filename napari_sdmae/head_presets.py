"""Shipped settings of fine-tuning: the published recipes, and ours for histology. No torch, no Qt."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from napari_sdmae.config import merge, on_base
from napari_sdmae.finetune_config import FinetuneConfig

DEFAULT_HEAD_PRESET = "nuclei"


def head_preset_names() -> list[str]:
    """Return the names of the shipped presets of fine-tuning, default first."""
    names = sorted(item.name.removesuffix(".yaml") for item in _folder().iterdir() if item.name.endswith(".yaml"))
    return sorted(names, key=lambda name: name != DEFAULT_HEAD_PRESET)


def load_head_preset(name: str) -> dict[str, Any]:
    """Return the shipped preset `name` as a nested dictionary of the values it changes; it has a task, but no data and model.

    Raises
    ------
    ValueError
        If there is no such preset; the message lists those there are.
    """
    if name not in head_preset_names():
        raise ValueError(f"no preset {name!r}; there are: {', '.join(head_preset_names())}")
    return on_base(dict(yaml.safe_load(_folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))), load_head_preset)


def from_head_preset(name: str, **changes: Any) -> FinetuneConfig:
    """Return the shipped preset `name` with `changes` applied (nested dictionaries are merged).

    Raises
    ------
    ValueError
        If there is no such preset, or the settings do not agree.
    """
    return FinetuneConfig.model_validate(merge(load_head_preset(name), changes))


def _folder() -> Traversable:
    return resources.files("napari_sdmae.resources").joinpath("presets", "heads")
