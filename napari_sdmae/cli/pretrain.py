"""``sdmae pretrain``: every setting is a flag, laid over a preset or a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_sdmae.cli.common.parser import parse
from napari_sdmae.cli.common.training import train
from napari_sdmae.config.presets import DEFAULT_PRESET, load_preset, preset_names
from napari_sdmae.config.pretrain import PretrainConfig

PROG = "sdmae pretrain"
USAGE = """Pre-train an SD-MAE on a folder of tissue images.

Besides the settings below:
  --output RUN     new folder for the run (required)
  --preset NAME    start from a shipped preset: {presets} (default: {default})
  --config FILE    start from a YAML file instead, such as config.yaml of a run
"""


def main(argv: list[str]) -> int:
    """Run ``sdmae pretrain``; return the exit status."""
    return train(PROG, argv, lambda name: load_preset(name or DEFAULT_PRESET), settings)


def settings(base: dict[str, Any], flags: list[str]) -> PretrainConfig:
    """Return the settings `base` (a nested dictionary) with `flags` laid over them; ``data`` may come from either.

    Raises
    ------
    UsageError, ValidationError
        If a flag or a value is wrong.
    """
    from tyro import MISSING

    default = PretrainConfig.model_validate({"data": Path()} | base)
    if "data" not in base:
        default = default.model_copy(update={"data": MISSING})
    description = USAGE.format(presets=", ".join(preset_names()), default=DEFAULT_PRESET)
    return parse(PretrainConfig, flags, prog=PROG, description=description, default=default)
