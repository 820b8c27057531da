"""``sdmae inspect DIR|MODEL``: look through a folder of images before training, or read what a model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from tyro.conf import Positional, arg

from napari_sdmae.cli.common.parser import UNUSABLE_DATA, complain, parse, refuse
from napari_sdmae.config.presets import DEFAULT_PRESET, load_preset, preset_names
from napari_sdmae.config.pretrain import PretrainConfig, TilesConfig
from napari_sdmae.io.model_info.card import read_card
from napari_sdmae.io.model_info.describe import about_model
from napari_sdmae.io.model_info.info import model_info, resembles_model
from napari_sdmae.text.errors import error_line

PROG = "sdmae inspect"
SHOWN = 20
SOURCE = (
    "Folder of images, searched with its sub-folders, or one image; or a model: run folder, model folder, name of a shipped one."
)
DESCRIPTION = "Look through a folder of images before training, or read the card of a model."


class Arguments(BaseModel):
    """Arguments of ``sdmae inspect``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[Positional[Path], Field(description=SOURCE)]
    as_json: Annotated[bool, arg(name="json"), Field(description="Print everything as JSON instead of a summary.")] = False
    preset: Annotated[str, Field(description=f"Preset to estimate memory for: {', '.join(preset_names())}.")] = DEFAULT_PRESET
    tiles: TilesConfig = Field(default_factory=TilesConfig)


def main(argv: list[str]) -> int:
    """Run ``sdmae inspect``; return the exit status: 3 if a run would refuse these images."""
    try:
        arguments = parse(Arguments, argv, prog=PROG, description=DESCRIPTION)
        load_preset(arguments.preset)
        if resembles_model(arguments.source):
            return _tell_model(str(arguments.source), arguments.as_json)
    except (ValueError, FileNotFoundError) as error:
        return refuse(PROG, error_line(error))
    from napari_sdmae.data.image_folder import DataError
    from napari_sdmae.data.tiles.inspect import Inspection, inspect

    try:
        found: Inspection = inspect(arguments.source, arguments.tiles)
    except DataError as error:
        return complain(PROG, error)
    if arguments.as_json:
        print(json.dumps(found.to_dict() | _memory(arguments, found.tiles), indent=1))
    else:
        print(_report(found.summary(), found.unusable), flush=True)  # before torch is loaded
        print(f"preset {arguments.preset}: {_memory(arguments, found.tiles)['line']}")
    return UNUSABLE_DATA if found.problem else 0


def _tell_model(model: str, as_json: bool) -> int:
    """Print what a model is."""
    info = model_info(model)
    told = info.to_dict() | {"card": read_card(info.folder)}
    print(json.dumps(told, indent=1, ensure_ascii=False) if as_json else about_model(info).strip())
    return 0


def _memory(arguments: Arguments, tiles: int) -> dict[str, Any]:
    """Return what training with the preset needs; see :func:`napari_sdmae.training.pretraining.memory.memory_need`."""
    from napari_sdmae.training.pretraining.memory import memory_need

    need = memory_need(
        PretrainConfig.from_preset(arguments.preset, data=arguments.source, tiles=arguments.tiles.model_dump()), tiles or None
    )
    return {
        "preset": arguments.preset,
        "training_memory": need.needed,
        "free_training_memory": need.free,
        "training_device": need.device,
        "tiles_at_once": need.tiles_at_once,
        "line": need.line,
    }


def _report(summary: str, unusable: list[tuple[str, str]]) -> str:
    lines = [f"  {name}: {reason}" for name, reason in unusable[:SHOWN]]
    more = [f"  … and {len(unusable) - SHOWN} more (--json lists all)"] if len(unusable) > SHOWN else []
    return "\n".join([summary, *(["cannot be used:"] if lines else []), *lines, *more])
