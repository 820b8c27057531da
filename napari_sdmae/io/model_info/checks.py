"""Checks of a model's ``config.json``, against its own rules and against its weights; without torch, for the viewer too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_sdmae.config.limits import check_encoder_arguments, check_mpp, check_pixel_statistics, check_sizes
from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.model_info.safetensors_header import tensor_shapes
from napari_sdmae.text.errors import first_problem
from napari_sdmae.text.printable import shown

MAX_CONFIG = 10_000_000
"""Bytes of a ``config.json``."""

_TARGETS = ("patch_channel", "patch", "none")
_PATCHES = "patch_embed.proj.weight"
_OUTPUTS = {"segmentation": "head.classifier.bias", "instances": "head.classifier.bias", "classification": "head.1.bias"}
"""The tensor with one number for each output, where a head has one."""


def check_sdmae(config: Mapping[str, Any]) -> None:
    """Raise ValueError, with the field's name, unless this describes an SD-MAE."""
    if missing := {"model", "encoder"} - config.keys():
        raise ValueError(f"{' and '.join(sorted(missing))} missing; copy or convert the model again")
    try:
        ModelConfig.model_validate(config["model"])
    except ValidationError as error:
        raise ValueError(first_problem(error, "model")) from error
    encoder = _mapping(config, "encoder")
    for name in ("width", "depth", "heads"):
        if name not in encoder:
            raise ValueError(f"encoder.{name} missing; copy or convert the model again")
        check_sizes(f"encoder.{name}", encoder[name], 16384)
    check_mpp(config.get("mpp"))
    if config.get("target_normalisation") not in (None, *_TARGETS):
        raise ValueError(f"target_normalisation is {shown(config['target_normalisation'])}; expected {', '.join(_TARGETS)}")
    if not isinstance(config.get("heads", True), bool):
        raise ValueError(f"heads is {shown(config['heads'])}; expected true or false")


def check_timm(config: Mapping[str, Any]) -> None:
    """Raise ValueError, with the field's name, unless this may describe an encoder in timm's layout."""
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or not 0 < len(architecture) < 200:
        raise ValueError(f"architecture is {shown(architecture)}; expected a name of timm")
    arguments, pretrained = _mapping(config, "model_args"), _mapping(config, "pretrained_cfg")
    check_encoder_arguments(arguments)
    told = pretrained or config
    if "mean" in told or "std" in told:
        check_pixel_statistics(told.get("mean", (0.5,) * 3), told.get("std", (0.5,) * 3))
    size = pretrained.get("input_size")
    if size is not None and not (isinstance(size, list) and len(size) == 3):
        raise ValueError(f"pretrained_cfg.input_size is {shown(size)}; expected channels, rows and columns")
    for number in size or ():
        check_sizes("pretrained_cfg.input_size", number, 16384)
    check_mpp(_mapping(config, "napari-sdmae").get("mpp"))


def check_sizes_of(weights: Path, sizes: Mapping[str, int], start: str) -> None:
    """Raise ValueError unless the encoder in a safetensors file has the `sizes` that its config states.

    Parameters
    ----------
    weights
        The file.
    sizes
        ``depth`` and ``patch_size``.
    start
        What stands before the names of the encoder's tensors.
    """
    shapes = tensor_shapes(weights)
    patches = shapes.get(start + _PATCHES, [])
    if len(patches) != 4:
        raise ValueError(f"the weights beside it hold no encoder ({start + _PATCHES} is missing or no image filter)")
    depth = len({name.split(".")[start.count(".") + 1] for name in shapes if name.startswith(f"{start}blocks.")})
    for name, found in (("depth", depth), ("patch_size", patches[2])):
        if sizes[name] != found:
            raise ValueError(f"{name} is {sizes[name]}, but the weights beside it have {found}")


def check_outputs(weights: Path, task: str, classes: int) -> None:
    """Raise ValueError unless a head in a safetensors file has an output for each of its classes, as far as one tensor tells."""
    name = _OUTPUTS.get(task, "")
    shape = tensor_shapes(weights).get(name)
    expected = 2 + (classes if classes > 1 else 0) if task == "instances" else classes
    if shape is not None and shape != [expected]:
        raise ValueError(f"classes: {classes} are named, which takes {expected} outputs, but {name} has {shape}")


def _mapping(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{name} is {shown(value)}; expected names and values in braces")
    return value or {}
