"""What a model is, read from its files without importing torch, so that the viewer can show it.

Four layouts are models: a run folder (its ``model`` folder is meant), an SD-MAE folder, an encoder folder in timm's layout, and
a head folder, whose encoder is meant.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from napari_sdmae.config.head import HEAD_FORMAT
from napari_sdmae.io.model_info.card import card_title, read_card
from napari_sdmae.io.model_info.checks import MAX_CONFIG, check_sdmae, check_sizes_of, check_timm
from napari_sdmae.io.model_info.safetensors_header import check_finite, tensor_shapes
from napari_sdmae.text.documents import DocumentError, read_json
from napari_sdmae.text.printable import shown

FORMAT = "napari-sdmae"
VERSION = 1
HEAD_VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt", ".torch", ".safetensors", ".tar", ".onnx")
"""Ends of files that hold weights, in other layouts than ours."""
LARGEST_CHECKED = 400_000_000
"""Bytes of weights whose numbers are looked through when a model is chosen; a ViT-B takes 0.3 s."""


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

    def to_dict(self) -> dict[str, str | int | float | None]:
        """Return all attributes as plain values, for JSON and the metadata of layers."""
        return asdict(self) | {"folder": str(self.folder)}


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

    A shipped model answers to its own name only, and never for a file or folder that is there.

    Raises
    ------
    FileNotFoundError
        If there is no such model, or it has no weights (yet).
    """
    folder, named = Path(model), str(model).strip() != ""
    for candidate in (folder, folder / "model") if named else ():
        if (candidate / CONFIG).is_file() and (candidate / WEIGHTS).is_file():
            return candidate
    there = named and folder.exists()
    if str(model) in _shipped() and not there:
        return _shipped_folder() / str(model)
    raise FileNotFoundError(_lacking(folder) if there else f"no model at {str(model)!r}; {_expected()}")


def _lacking(folder: Path) -> str:
    """Return why what is there is no model, and what to do."""
    if folder.suffix.lower() in CHECKPOINTS and folder.is_file():
        return f"{folder} is a file, not a model folder; convert the checkpoint first: sdmae convert {folder} FOLDER"
    if (folder / "status.json").is_file():
        return f"the run {folder} has not saved a model yet; wait for its first checkpoint"
    for place in (folder, folder / "model"):
        if shards := [path.name for path in sorted(place.glob("*.index.json"))]:
            return f"{place} holds weights in several parts ({shards[0]}), which cannot be read; save them as one {WEIGHTS}"
        there = {path.name for path in (place / CONFIG, place / WEIGHTS) if path.is_file()}
        if there:
            other = WEIGHTS if CONFIG in there else CONFIG
            return f"{place} has {' and '.join(there)} but no {other}; copy the model again. {_expected()}"
    return f"{folder} is no model; {_expected()}"


def _expected() -> str:
    shipped = ", ".join(_shipped()) or "none"
    return (
        f"expected a run folder, a folder with {CONFIG} and {WEIGHTS}, or the name of a shipped model ({shipped}). "
        "Other checkpoints: sdmae convert"
    )


def resembles_model(path: Path) -> bool:
    """Return whether `path` is a model, or has something of one or of a run, so that it was meant as one."""
    try:
        find_model(path)
    except FileNotFoundError:
        if path.is_file():
            return path.suffix.lower() in CHECKPOINTS
        signs = (WEIGHTS, "pytorch_model.bin", "status.json", f"model/{CONFIG}", f"model/{WEIGHTS}")
        weak = any((path / name).exists() for name in (CONFIG, "config.yaml"))  # folders of images may have these too
        return any((path / name).exists() for name in signs) or any(path.glob("*.index.json")) or (weak and not _has_images(path))
    return True


def _has_images(folder: Path) -> bool:
    from napari_sdmae.io.images.read import IMAGE_SUFFIXES  # decoders are not needed to describe a model

    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def read_config(folder: Path) -> dict[str, Any]:
    """Return the ``config.json`` of a model folder, with plausible values in every field that is used.

    Raises
    ------
    ValueError
        If it is neither ours, in a version we know, nor in timm's layout, or a field is wrong; the message names it.
    """
    path = folder / CONFIG
    try:
        config = read_json(path, MAX_CONFIG)
    except DocumentError as error:
        raise ValueError(f"{path} is not JSON that can be read: {error}") from error
    if not isinstance(config, dict) or not (config.get("format") in (FORMAT, HEAD_FORMAT) or "architecture" in config):
        raise ValueError(
            f"{path} describes neither an SD-MAE model nor a timm encoder nor a head (no known format or architecture)"
        )
    known, kind = (HEAD_VERSION, "is a head of") if is_head(config) else (VERSION, "has format")
    if config.get("format") in (FORMAT, HEAD_FORMAT) and config.get("version") != known:
        raise ValueError(f"{folder} {kind} version {shown(config.get('version'))}, this program reads {known}; update it")
    if not is_head(config):
        try:
            (check_sdmae if is_sdmae(config) else check_timm)(config)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return config


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


def fingerprint(folder: Path) -> str:
    """Return what changes when a file of a model is replaced or written to, whatever its date: a running job replaces them."""
    files = [(folder / name).stat() for name in (CONFIG, WEIGHTS)]
    return "-".join(f"{file.st_ino:x}.{file.st_size:x}.{file.st_mtime_ns:x}" for file in files)


@lru_cache(maxsize=64)
def _check_numbers(weights: Path, files: str) -> None:
    check_finite(weights)


def check_numbers(info: ModelInfo) -> None:
    """Raise ValueError if a number of a model is NaN or infinite; files too large for that at once are left to who loads them."""
    weights = info.folder / WEIGHTS
    if weights.stat().st_size <= LARGEST_CHECKED:
        _check_numbers(weights, fingerprint(info.folder))


def _described(name: str, folder: Path, config: dict[str, Any]) -> ModelInfo:
    title = card_title(read_card(folder) or "") or name
    named = name, title, folder.resolve().parent == _shipped_folder().resolve(), folder
    if is_sdmae(config):
        settings, encoder = config["model"], config["encoder"]
        sizes = settings["tile_size"], settings["patch_size"], encoder["depth"], encoder["heads"]
        _check_sizes(folder, sizes)
        return ModelInfo(
            *named, settings["encoder"], *sizes, config.get("mpp"), config.get("target_normalisation"), has_decoder=True
        )
    if is_head(config):
        encoder, arguments = config["encoder"], config["encoder"]["arguments"]
        sizes = encoder["tile_size"], encoder["patch_size"], arguments["depth"], arguments["num_heads"]
        _check_sizes(folder, sizes)
        return ModelInfo(*named, encoder["architecture"], *sizes, config.get("mpp"), None, has_decoder=False)
    mpp = config.get(FORMAT, {}).get("mpp")
    return ModelInfo(*named, config["architecture"], *_encoder_sizes(folder, config), mpp, None, has_decoder=False)


def _check_sizes(folder: Path, sizes: tuple[int, int, int, int]) -> None:
    """Raise ValueError unless the weights have the depth and patch size of the config beside them."""
    try:
        check_sizes_of(folder / WEIGHTS, {"patch_size": sizes[1], "depth": sizes[2]}, "encoder.")
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error


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


def _shipped() -> list[str]:
    """Return the names of all models and heads that come with the package."""
    folder = _shipped_folder()
    return sorted(item.name for item in folder.iterdir() if (item / CONFIG).is_file()) if folder.is_dir() else []


def _shipped_folder() -> Path:
    return Path(str(resources.files("napari_sdmae.resources"))) / "models"
