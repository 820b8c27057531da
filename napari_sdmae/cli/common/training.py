"""What ``sdmae pretrain`` and ``sdmae finetune`` share: settings from a preset or a file, flags laid over them, then the job."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_sdmae.cli.common.parser import UsageError, refuse
from napari_sdmae.config.base import read_yaml
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.text.errors import error_line

Values = dict[str, Any]


def train(
    prog: str,
    argv: list[str],
    preset: Callable[[str | None], Values],
    settings: Callable[[Values, list[str]], PretrainConfig | FinetuneConfig],
) -> int:
    """Run the job that the arguments describe; return the exit status.

    Parameters
    ----------
    prog
        The command, for messages.
    argv
        Its arguments.
    preset
        Returns the values of the shipped preset of a name, or those to begin with where none is named.
    settings
        Lays flags over values.
    """
    arguments, flags = _parser(prog).parse_known_args(argv)
    asks_help = "-h" in flags or "--help" in flags
    try:
        if arguments.output is None and not asks_help:
            raise UsageError("--output RUN is missing: name a new folder for the run")
        config = settings(_base(arguments, preset), flags)
    except (ValueError, OSError) as error:
        return refuse(prog, error_line(error))
    from napari_sdmae.cli.common.job import run_job

    return run_job(config, Path(arguments.output), resume=False)


def _base(arguments: argparse.Namespace, preset: Callable[[str | None], Values]) -> Values:
    """Return the values that flags override."""
    if arguments.config is None:
        return preset(arguments.preset)
    if arguments.preset is not None:
        raise UsageError("--preset and --config were both given: choose one")
    values = read_yaml(Path(arguments.config))
    if not isinstance(values, dict):
        raise UsageError(f"{arguments.config} holds no settings; expected YAML such as config.yaml of a run")
    return values


def _parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the flags that are no settings."""
    parser = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    for flag in ("--output", "--preset", "--config"):
        parser.add_argument(flag)
    return parser
