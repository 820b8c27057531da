"""``sdmae finetune``: every setting is a flag, laid over a preset or a YAML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from napari_sdmae.cli.common.parser import UsageError, parse
from napari_sdmae.cli.common.training import train
from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig
from napari_sdmae.config.presets import head_preset_names, load_head_preset
from napari_sdmae.config.relevance import refusals

PROG = "sdmae finetune"
SHORT = re.compile(r"^--mpp(?=$|=)")
USAGE = """Train a head on labelled images: segmentation, instances (nuclei), classification or detection.

Besides the settings below:
  --output RUN     new folder for the run (required)
  --preset NAME    start from shipped settings: {presets}
  --config FILE    start from a YAML file instead, such as config.yaml of a run
  --mpp UM         scale of the images, as for predict and evaluate: short for --image-mpp
"""


def main(argv: list[str]) -> int:
    """Run ``sdmae finetune``; return the exit status."""
    return train(PROG, argv, lambda name: {} if name is None else load_head_preset(name), settings)


def settings(base: dict[str, Any], flags: list[str]) -> FinetuneConfig:
    """Return the settings `base` (a nested dictionary) with `flags` laid over them; ``task`` and ``data`` may come from either.

    Raises
    ------
    UsageError, ValidationError
        If a flag or a value is wrong, or a flag does nothing for the task.
    """
    from tyro import MISSING

    default = FinetuneConfig.model_validate({"task": "segmentation", "data": Path(), "model": "given by a flag"} | base)
    missing = {name: MISSING for name in ("task", "data") if name not in base} | ({} if "model" in base else {"model": SCRATCH})
    description = USAGE.format(presets=", ".join(head_preset_names()))
    flags = [SHORT.sub("--image-mpp", flag) for flag in flags]
    config = parse(FinetuneConfig, flags, prog=PROG, description=description, default=default.model_copy(update=missing))
    if "task" in base and config.task != base["task"]:
        raise UsageError(f"--task {config.task}: these settings are for {base['task']}; choose others, or leave --task out")
    if complaints := refusals(config, flags):
        raise UsageError("; ".join(complaints))
    return config
