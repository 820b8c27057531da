"""What a model is, read from its files without importing torch, so that the viewer can show it.

Four layouts are models: a run folder (its ``model`` folder is meant), an SD-MAE folder, an encoder folder in timm's layout, and
a head folder, whose encoder is meant.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from napari_sdmae.head_spec import HEAD_FORMAT
from napari_sdmae.io.model_card import card_title, read_card

FORMAT = "napari-sdmae"
VERSION = 1
HEAD_VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class ModelInfo:
    """A model in words and numbers.

    Attributes
    ----------
    name
        The shipped name, or that of the run or model folder.
    title
        Name to show: the heading of its model card, else `name`.
    shipped
        Whether it comes with the package.
    folder
        Folder with ``config.json`` and ``model.safetensors``.
    encoder
        timm name of the encoder.
    tile_size, patch_size
        Pixels.
    depth, heads
        Blocks of the encoder and attention heads per block.
    mpp
        Scale of the training tiles, µm per pixel, when known.
    target_normalisation
        What the decoder predicts: patch_channel, patch or none; None without decoder.
    has_decoder
        Whether it can reconstruct.
    """

    name: str
    title: str
    shipped: bool
    folder: Path
    encoder: str
    tile_size: int
    patch_size: int
    depth: int
    heads: int
    mpp: float | None
    target_normalisation: str | None
    has_decoder: bool


def shipped_models() -> list[str]:
    """Return the names of the pre-trained models that come with the package, the one used where none is named first."""
    return [name for name in _shipped() if not is_head(read_config(_shipped_folder() / name))]


def shipped_heads() -> list[str]:
    """Return the names of the heads that come with the package, the one offered first to begin with."""
    return [name for name in _shipped() if is_head(read_config(_shipped_folder() / name))]


def default_model() -> str | None:
    """Return the name of the shipped model that is used where none is named; None where none is shipped."""
    return next(iter(shipped_models()), None)


def find_model(model: str | Path) -> Path:
    """Return the folder with the files of MODEL: a run folder, a model folder or the name of a shipped model.

    Raises
    ------
    FileNotFoundError
        If there is no such model, or the run has not saved one yet.
    """
    folder = Path(model)
    for candidate in (folder, folder / "model"):
        if (candidate / CONFIG).is_file() and (candidate / WEIGHTS).is_file():
            return candidate
    if str(model) in _shipped():
        return _shipped_folder() / str(model)
    if (folder / "status.json").is_file():
        raise FileNotFoundError(f"the run {folder} has not saved a model yet; wait for its first checkpoint")
    shipped = ", ".join(_shipped()) or "none"
    raise FileNotFoundError(
        f"no model at {str(model)!r}; expected a run folder, a folder with {CONFIG} and {WEIGHTS}, "
        f"or the name of a shipped model ({shipped}). Other checkpoints: sdmae convert"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the ``config.json`` of a model folder.

    Raises
    ------
    ValueError
        If it is neither ours, in a version we know, nor in timm's layout.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / CONFIG} is not JSON: {error}") from error
    if isinstance(config, dict) and config.get("format") == FORMAT:
        if config.get("version") != VERSION:
            raise ValueError(f"{folder} has format version {config.get('version')}, this program reads {VERSION}; update it")
        if missing := {"model", "encoder"} - config.keys():
            raise ValueError(f"{folder / CONFIG} lacks {' and '.join(sorted(missing))}; copy or convert the model again")
        return config
    if isinstance(config, dict) and is_head(config):
        if config.get("version") != HEAD_VERSION:
            raise ValueError(
                f"{folder} is a head of version {config.get('version')}, this program reads {HEAD_VERSION}; update it"
            )
        return config
    if isinstance(config, dict) and "architecture" in config:
        return config
    raise ValueError(
        f"{folder / CONFIG} describes neither an SD-MAE model nor a timm encoder nor a head (no known format or architecture)"
    )


def is_sdmae(config: dict[str, Any]) -> bool:
    """Return whether a ``config.json`` describes an SD-MAE with decoder, not an encoder in timm's layout."""
    return config.get("format") == FORMAT


def is_head(config: dict[str, Any]) -> bool:
    """Return whether a ``config.json`` describes a fine-tuned head with its encoder."""
    return config.get("format") == HEAD_FORMAT


def model_info(model: str | Path) -> ModelInfo:
    """Describe MODEL without loading it.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such model or it cannot be read.
    """
    folder = find_model(model)
    config = read_config(folder)
    name = folder.parent.name if folder.name == "model" else folder.name
    try:
        return _described(name, folder, config)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / CONFIG} does not describe {WEIGHTS} beside it ({type(error).__name__}: {error})") from error


def _described(name: str, folder: Path, config: dict[str, Any]) -> ModelInfo:
    title = card_title(read_card(folder) or "") or name
    named = name, title, folder.resolve().parent == _shipped_folder().resolve(), folder
    if is_sdmae(config):
        settings, encoder = config["model"], config["encoder"]
        sizes = settings["tile_size"], settings["patch_size"], encoder["depth"], encoder["heads"]
        return ModelInfo(
            *named, settings["encoder"], *sizes, config.get("mpp"), config.get("target_normalisation"), has_decoder=True
        )
    if is_head(config):
        encoder, arguments = config["encoder"], config["encoder"]["arguments"]
        sizes = encoder["tile_size"], encoder["patch_size"], arguments["depth"], arguments["num_heads"]
        return ModelInfo(*named, encoder["architecture"], *sizes, config.get("mpp"), None, has_decoder=False)
    mpp = config.get(FORMAT, {}).get("mpp")
    return ModelInfo(*named, config["architecture"], *_encoder_sizes(folder, config), mpp, None, has_decoder=False)


def usual_heads(width: int) -> int:
    """Return the number of heads that published plain vision transformers of this width have (mostly 64 channels each)."""
    return {1280: 16, 1408: 16, 1536: 24, 1664: 16}.get(width, max(width // 64, 1))


def image_edge(config: dict[str, Any]) -> int | None:
    """Return the edge of the image that the ``config.json`` of a timm folder names; the shorter one if it is not square."""
    size = config.get("model_args", {}).get("img_size") or config.get("pretrained_cfg", {}).get("input_size", [None])[1:]
    edges = [size] if isinstance(size, int) else list(size)
    return min(edges) if edges else None


def _encoder_sizes(folder: Path, config: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return tile size, patch size, depth and heads of a timm folder, from the shapes of its tensors."""
    shapes = tensor_shapes(folder / WEIGHTS)
    if absent := {"patch_embed.proj.weight", "pos_embed"} - shapes.keys():
        listed = ", ".join(list(shapes)[:5]) or "none"
        lacking = ", ".join(sorted(absent))
        raise ValueError(f"{folder / WEIGHTS} holds no plain vision transformer: {lacking} missing, it has {listed}")
    arguments = config.get("model_args", {})
    width, _, patch, _ = shapes["patch_embed.proj.weight"]
    depth = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    tile = image_edge(config) or math.isqrt(shapes["pos_embed"][1]) * patch
    return tile, patch, depth, arguments.get("num_heads") or usual_heads(width)


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shape of every tensor of a safetensors file, from its header (8 bytes of length, then JSON).

    Raises
    ------
    ValueError
        If it has no such header.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, path.stat().st_size)))
        return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is empty, cut short or no safetensors file; copy or convert the model again") from error


def _shipped() -> list[str]:
    """Return the names of all models and heads that come with the package."""
    folder = _shipped_folder()
    return sorted(item.name for item in folder.iterdir() if (item / CONFIG).is_file()) if folder.is_dir() else []


def _shipped_folder() -> Path:
    return Path(str(resources.files("napari_sdmae.resources"))) / "models"
