"""Checkpoints of other programs to model folders, and back to timm."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from napari_sdmae.config.pretrain import IMAGENET_MEAN, IMAGENET_STD
from napari_sdmae.io.atomic import atomic_files, atomic_path
from napari_sdmae.io.checkpoints.architecture import (
    decoder_tensors,
    full_config,
    target_normalisation,
    trunk_architecture,
    unstated,
)
from napari_sdmae.io.checkpoints.external import Foreign, read_foreign
from napari_sdmae.io.checkpoints.head_folder import load_head, load_head_encoder, save_head
from napari_sdmae.io.checkpoints.sdmae_folder import differences, fits, load_sdmae, save_model, summary
from napari_sdmae.io.checkpoints.timm_folder import load_vit, save_encoder
from napari_sdmae.io.model_info.card import CARD, draft_card, read_card, read_card_file
from napari_sdmae.io.model_info.checks import MAX_CONFIG, check_timm
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import CONFIG, FORMAT, WEIGHTS, find_model, is_head, is_sdmae, read_config
from napari_sdmae.models import SDMAE
from napari_sdmae.models.compact import strip_heads
from napari_sdmae.models.encoder import build_encoder, create_plain_vit, encoder_arguments
from napari_sdmae.text.documents import read_json
from napari_sdmae.text.errors import first_problem

Target = Literal["sdmae", "timm"]
Colour = tuple[float, float, float]

LEAST_MATCH = 0.95
"""Fraction of the encoder's tensors that must fit."""

_NOT_TRUNK = ("head.", "head_dist.", "fc_norm.", "attn_pool.")


def convert_checkpoint(
    source: str | Path,
    destination: str | Path,
    *,
    to: Target = "sdmae",
    overwrite: bool = False,
    tile_size: int | None = None,
    encoder_heads: int | None = None,
    decoder_heads: int | None = None,
    mean: Colour | None = None,
    std: Colour | None = None,
    mpp: float | None = None,
    weights: str | None = None,
    compact: bool = False,
    card: Path | None = None,
) -> Path:
    """Convert a checkpoint to a model folder.

    Parameters
    ----------
    source
        Authors' or MAE ``.pth``, a timm state dict (``.pth``, ``.safetensors``) or folder, a run, model or head folder, or
        the name of a shipped model.
    destination
        Folder to write.
    to
        ``sdmae``: all there is, with decoder or head, else an encoder folder. ``timm``: the encoder in timm's layout.
    overwrite
        Write into a folder that has something in it; only a model that this program wrote is replaced, all else stays.
    tile_size, encoder_heads, decoder_heads
        What the weights alone do not tell, where the file does not say it and the usual value is wrong.
    mean, std
        Normalisation of [0, 1] RGB that the model of a checkpoint file was trained with. None: for a timm state dict as in the
        ``config.json`` beside it; ImageNet's where there is none, with a warning, and for the authors' and MAE checkpoints.
    mpp
        Scale of what the model saw, µm per pixel, where the source does not say it, or says it wrongly.
    weights
        Which weights are meant where a checkpoint file holds those of several models, such as ``teacher``.
    compact
        For sharing: 16-bit weights, without the heads of self-distillation, which only training needs; and with a model card.
    card
        A model card to copy beside the weights. None: that of the source; where there is none, `compact` drafts one.

    Returns
    -------
    Path
        The folder written.

    Raises
    ------
    FileNotFoundError
        If there is no such source.
    FileExistsError
        If the destination has something in it, is the source, or holds a model that this program did not write, or another card.
    ValueError
        If the source would run code, cannot be read, or does not fit; the message lists the tensors. If it holds the weights of
        several models and none is chosen. If mean, std or weights are given for a folder, which tells its own.
    """
    source, destination = Path(source), Path(destination)
    given, run = None if card is None else read_card_file(card), None
    with _placed(destination, overwrite) as folder:
        text = given
        if not source.is_file():
            if mean or std or weights:
                raise ValueError(
                    f"mean, std and weights are for checkpoint files; the {CONFIG} of {source} tells its own: leave them out"
                )
            model = find_model(source)
            if destination.exists() and destination.samefile(model):
                raise FileExistsError(f"{destination} is the model that is read; choose another folder")
            _convert_folder(model, source.name, folder, to, mpp, compact)
            text, run = text or read_card(model), model.parent
        else:
            foreign = read_foreign(source, weights)
            told = {"tile_size": tile_size, "encoder_heads": encoder_heads, "decoder_heads": decoder_heads}
            hints = {name: value for name, value in told.items() if value is not None}
            statistics = _statistics(source, foreign, mean, std)
            _note_assumed(source, foreign, hints)
            provenance = {"converted_from": source.name, "kind": foreign.kind}
            write = _write_trunk if to == "timm" or foreign.kind == "vit" else _write_full
            try:
                write(foreign, folder, hints, statistics, provenance, mpp, compact)
            except ValueError as error:
                reason = first_problem(error) if isinstance(error, ValidationError) else error
                raise ValueError(f"{source}: {reason}") from error
        if compact:
            text = text or draft_card(destination.resolve().name, run)
        if text is not None:
            if given is None and read_card(destination) not in (None, text):
                raise FileExistsError(
                    f"{destination / CARD} is another card, maybe completed by hand: say which is right with card"
                )
            (folder / CARD).write_bytes(text.encode())
    return destination


@contextmanager
def _placed(destination: Path, overwrite: bool) -> Iterator[Path]:
    """Give a folder to write to, whose files are in `destination` when the block ends well.

    Raises
    ------
    FileExistsError
        If there is something in the destination, or what is to be replaced in it is no model that this program wrote.
    """
    if not overwrite or not destination.is_dir() or not any(destination.iterdir()):
        with atomic_path(destination, folder=True) as folder:
            yield folder
        return
    if not _is_ours(destination) and (there := [name for name in (CONFIG, WEIGHTS) if (destination / name).exists()]):
        raise FileExistsError(f"{destination / there[0]} is there, and sdmae convert did not write it; choose another folder")
    with atomic_files(destination, CONFIG, overwrite=True) as folder:
        yield folder


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder holds a model, head or encoder that this program wrote."""
    try:
        config = read_config(folder)
    except (OSError, ValueError):
        return False
    return is_sdmae(config) or is_head(config) or FORMAT in config


def _convert_folder(folder: Path, name: str, destination: Path, to: Target, mpp: float | None, compact: bool) -> None:
    """Convert the folder of a model, head or timm encoder, which its user calls `name`."""
    config = read_config(folder)
    more: dict[str, Any] = {"provenance": {"converted_from": name}, "half": compact}
    if is_head(config):
        _convert_head(folder, destination, to, mpp, more)
    elif not is_sdmae(config):
        vit, pretrained = load_vit(folder), config.get("pretrained_cfg", {})
        mean, std = tuple(pretrained.get("mean", IMAGENET_MEAN)), tuple(pretrained.get("std", IMAGENET_STD))
        arguments = {"img_size": list(vit.patch_embed.img_size), **config.get("model_args", {})}
        mpp = mpp or config.get(FORMAT, {}).get("mpp")
        save_encoder(destination, vit, config["architecture"], arguments, mean=mean, std=std, mpp=mpp, **more)
    elif to == "timm":
        model = load_sdmae(folder, config)
        settings, mpp = model.config, mpp or config.get("mpp")
        statistics: dict[str, Any] = {"mean": settings.mean, "std": settings.std, "mpp": mpp}
        save_encoder(destination, model.encoder, settings.encoder, encoder_arguments(settings), **statistics, **more)
    else:
        model = load_sdmae(folder, config)
        if compact:
            strip_heads(model)
        metadata: dict[str, Any] = {
            name: config[name] for name in ("target_normalisation", "mpp", "provenance") if name in config
        }
        save_model(destination, model, metadata=metadata | ({"mpp": mpp} if mpp else {}), half=compact)


def _convert_head(folder: Path, destination: Path, to: Target, mpp: float | None, more: dict[str, Any]) -> None:
    """Convert a head with its encoder, or its encoder alone."""
    if to == "sdmae":
        head = load_head(folder)
        if mpp:
            head.spec = head.spec.model_copy(update={"mpp": mpp})
        save_head(destination, head, half=more["half"])
        return
    spec = read_head_spec(folder)
    told, vit = spec.encoder, load_head_encoder(folder, spec.encoder)
    statistics: dict[str, Any] = {"mean": told.mean, "std": told.std, "mpp": mpp or spec.mpp}
    save_encoder(destination, vit, told.architecture, told.arguments, **statistics, **more)


def _note_assumed(source: Path, foreign: Foreign, hints: Mapping[str, int]) -> None:
    """Warn about what neither the tensors nor the arguments of an authors' checkpoint tell, and nobody told."""
    if foreign.kind == "sdmae" and (unknown := unstated(foreign, hints)):
        flags = " ".join(f"--{name.replace('_', '-')}" for name in unknown)
        warnings.warn(
            f"{source.name} does not state {', '.join(unknown)}: the published values were assumed, and the position codes and "
            f"attention of another model would be wrong; give {flags}",
            stacklevel=3,
        )


def _statistics(source: Path, foreign: Foreign, mean: Colour | None, std: Colour | None) -> dict[str, Colour]:
    """Return mean and std of a checkpoint file: as told, else as timm's config beside it says, else ImageNet's."""
    beside = _timm_statistics(source.with_name(CONFIG)) if foreign.kind == "vit" else {}
    found = {"mean": mean or beside.get("mean"), "std": std or beside.get("std")}
    if unknown := [name for name, value in found.items() if value is None and foreign.kind == "vit"]:
        warnings.warn(
            f"{source.name} does not say its pixel {' and '.join(unknown)}: ImageNet's were assumed; give --mean and --std "
            "if it was trained with others",
            stacklevel=3,
        )
    return {"mean": found["mean"] or IMAGENET_MEAN, "std": found["std"] or IMAGENET_STD}


def _timm_statistics(config: Path) -> dict[str, Colour]:
    """Return mean and std of a timm ``config.json``, as far as it has them."""
    if not config.is_file():
        return {}
    try:
        content = read_json(config, MAX_CONFIG)
        if not isinstance(content, dict) or "architecture" not in content:
            return {}
        check_timm(content)
    except ValueError as error:
        raise ValueError(f"{config}, beside the checkpoint: {error}; mend it or move it away") from error
    told = content.get("pretrained_cfg", content)
    return {name: tuple(told[name]) for name in ("mean", "std") if name in told}


def _write_trunk(
    foreign: Foreign,
    destination: Path,
    hints: Mapping[str, int],
    statistics: Mapping[str, Colour],
    provenance: dict[str, Any],
    mpp: float | None,
    compact: bool,
) -> None:
    """Write the encoder of a checkpoint as a timm folder."""
    name, arguments = trunk_architecture(foreign, hints)
    # the authors' files have no position code: the model makes it
    vit = build_encoder(full_config(foreign, hints)) if foreign.kind == "sdmae" else create_plain_vit(name, arguments)
    fit_trunk(vit, foreign.trunk)
    more: dict[str, Any] = {**statistics, "mpp": mpp, "provenance": provenance, "half": compact}
    save_encoder(destination, vit, name, arguments, **more)


def _write_full(
    foreign: Foreign,
    destination: Path,
    hints: Mapping[str, int],
    statistics: Mapping[str, Colour],
    provenance: dict[str, Any],
    mpp: float | None,
    compact: bool,
) -> None:
    """Write encoder, decoder and heads of a checkpoint as an SD-MAE folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # heads that the source lacks start at random: the same each time
        model = SDMAE(full_config(foreign, hints).model_copy(update=dict(statistics)))
    fit_trunk(model.encoder, foreign.trunk)
    rest = decoder_tensors(foreign)
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("encoder.")}
    optional = {"decoder.pos_embed"} | {name for name in own if foreign.kind == "mae" and "_head." in name}
    if problems := differences(own, {name: own[name] for name in optional} | rest):
        raise ValueError(f"the decoder and heads do not fit: {summary(problems)}. Its encoder alone: to='timm' (--to timm)")
    model.load_state_dict(rest, strict=False)
    if foreign.kind == "mae":
        provenance["untrained"] = ["student_head", "teacher_head"]
    if compact:
        strip_heads(model)
    metadata = {"target_normalisation": target_normalisation(foreign), "mpp": mpp, "provenance": provenance}
    save_model(destination, model, metadata=metadata, half=compact)


def fit_trunk(vit: VisionTransformer, trunk: Mapping[str, Tensor]) -> None:
    """Load the tensors of an encoder, leaving a classifier out.

    Raises
    ------
    ValueError
        If fewer than 95 % of the tensors of both fit; the message lists those that do not. The few others are warned about.
    """
    expected = vit.state_dict()
    given = {name: tensor for name, tensor in trunk.items() if name in expected or not name.startswith(_NOT_TRUNK)}
    given.setdefault("pos_embed", expected["pos_embed"])
    problems = differences(expected, given)
    fitting = {name: given[name] for name in expected if name in given and fits(expected[name], given[name])}
    share = len(fitting) / len(expected.keys() | given.keys())
    if share < LEAST_MATCH:
        raise ValueError(f"only {share:.0%} of the encoder's tensors fit, {LEAST_MATCH:.0%} are needed: {summary(problems)}")
    if problems:
        warnings.warn(f"some tensors of the encoder do not fit and were left out: {summary(problems)}", stacklevel=2)
    vit.load_state_dict(fitting, strict=False)
