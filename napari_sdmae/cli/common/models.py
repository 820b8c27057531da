"""Resolve the MODEL argument; fall back to the bundled model and report it."""

from __future__ import annotations

import sys
from pathlib import Path

from napari_sdmae.cli.common.parser import UsageError
from napari_sdmae.io.model_info.describe import SHIPPED
from napari_sdmae.io.model_info.info import default_model, find_model, resembles_model


def named_or_default(prog: str, model: str | None) -> str:
    """Return `model`, or where none is named the shipped one, which is said.

    Raises
    ------
    FileNotFoundError
        If what is named is no model: no other answers in its place.
    UsageError
        If none is named and none is shipped.
    """
    if model is not None:
        find_model(model)
        return model
    name = default_model()
    if name is None:
        raise UsageError(
            "MODEL is missing, and no model comes with this installation: name a run or model folder before the image"
        )
    print(f"{prog}: note: model {name}, which {SHIPPED}; name another before the image", file=sys.stderr)
    return name


def split_inputs(model: str | None, inputs: list[Path]) -> tuple[str | None, list[Path]]:
    """Return the model, if one was named, and the inputs of [MODEL] INPUT….

    A first word is an input only if it is there and nothing about it resembles a model: one that lacks its weights is refused by
    :func:`find_model`, and never read as a folder of images with another model.

    Raises
    ------
    UsageError
        If a model was named and nothing else, or after the inputs.
    """
    if model is None and resembles_model(inputs[0]):
        raise UsageError(f"{inputs[0]} is a model: name images after it")
    if model is not None and Path(model).exists() and not resembles_model(Path(model)):
        inputs, model = [Path(model), *inputs], None
    check_images(*inputs)
    return model, inputs


def check_images(*images: Path) -> None:
    """Raise `UsageError` if one is a model or was meant as one: the shipped model does not answer for it."""
    for image in images:
        if resembles_model(image):
            raise UsageError(f"{image} is a model or run, not an image: name the model first, then the image")
