"""The model of a command: the one named, else the one that comes with the package, said aloud."""

from __future__ import annotations

import sys
from pathlib import Path

from napari_sdmae.cli._output import Refused
from napari_sdmae.io.about_model import SHIPPED
from napari_sdmae.io.model_info import default_model, find_model


def named_or_default(prog: str, model: str | None) -> str:
    """Return `model`, or where none is named the shipped one, which is said.

    Raises
    ------
    Refused
        If none is named and none is shipped.
    """
    if model is not None:
        return model
    name = default_model()
    if name is None:
        raise Refused("MODEL is missing, and no model comes with this installation: name a run or model folder before the image")
    print(f"{prog}: note: model {name}, which {SHIPPED}; name another before the image", file=sys.stderr)
    return name


def split_inputs(model: str | None, inputs: list[Path]) -> tuple[str | None, list[Path]]:
    """Return the model, if one was named, and the inputs of [MODEL] INPUT…: a first word that exists and is no model is one.

    Raises
    ------
    Refused
        If a model was named and nothing else.
    """
    if model is None and is_model(inputs[0]):
        raise Refused(f"{inputs[0]} is a model: name images after it")
    if model is not None and Path(model).exists() and not is_model(Path(model)):
        return None, [Path(model), *inputs]
    return model, inputs


def is_model(path: Path) -> bool:
    """Return whether `path` is a run or model folder, or the name of a shipped model."""
    try:
        find_model(path)
    except FileNotFoundError:
        return (path / "status.json").is_file()
    return True
