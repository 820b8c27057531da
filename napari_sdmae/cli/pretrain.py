"""``sdmae pretrain``: every setting is a flag, laid over a preset or a YAML file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_sdmae.cli._arguments import UsageError, explain, parse, refuse
from napari_sdmae.config import DEFAULT_PRESET, PretrainConfig, load_preset, preset_names, read_yaml

PROG = "sdmae pretrain"
USAGE = """Pre-train an SD-MAE on a folder of tissue images.

Besides the settings below:
  --output RUN     new folder for the run (required)
  --preset NAME    start from a shipped preset: {presets} (default: {default})
  --config FILE    start from a YAML file instead, such as config.yaml of a run
"""


def main(argv: list[str]) -> int:
    """Run ``sdmae pretrain``; return the exit status."""
    arguments, flags = _parser().parse_known_args(argv)
    asks_help = "-h" in flags or "--help" in flags
    try:
        if arguments.output is None and not asks_help:
            raise UsageError("--output RUN is missing: name a new folder for the run")
        config = settings(_base(arguments.preset, arguments.config), flags)
    except (ValueError, OSError) as error:
        return refuse(PROG, explain(error))
    from napari_sdmae.cli._job import run_job

    return run_job(config, Path(arguments.output), resume=False)


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


def _base(preset: str | None, file: str | None) -> dict[str, Any]:
    """Return the values that flags override."""
    if file is None:
        return load_preset(preset or DEFAULT_PRESET)
    if preset is not None:
        raise UsageError("--preset and --config were both given: choose one")
    values = read_yaml(Path(file))
    if not isinstance(values, dict):
        raise UsageError(f"{file} holds no settings; expected YAML such as config.yaml of a run")
    return values


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the flags that are no settings."""
    parser = argparse.ArgumentParser(prog=PROG, add_help=False, allow_abbrev=False)
    for flag in ("--output", "--preset", "--config"):
        parser.add_argument(flag)
    return parser
