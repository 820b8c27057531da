"""``sdmae convert``: checkpoints of other programs to model folders, and back to timm."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from napari_sdmae.cli.common.parser import FORESEEN, UsageError, complain, parse, refuse
from napari_sdmae.config.base import Settings
from napari_sdmae.config.limits import LARGEST_MPP, SMALLEST_MPP
from napari_sdmae.humanize import size
from napari_sdmae.io.model_info.card import CARD, card_problems, read_card
from napari_sdmae.io.model_info.info import WEIGHTS, is_head, model_info, read_config

Share = Annotated[float, Field(gt=0, le=1)]
PROG = "sdmae convert"
DESCRIPTION = (
    "Convert a checkpoint to a model folder. SRC: the authors' or a facebookresearch MAE .pth, a timm state dict or folder, "
    "a run, model or head folder or a shipped model. A source without decoder becomes an encoder folder. To share: --compact."
)


class ConvertArguments(Settings):
    """Arguments of ``sdmae convert``."""

    source: Annotated[str, tyro.conf.Positional] = Field(description="Checkpoint file, folder or name of a shipped model.")
    destination: Annotated[Path, tyro.conf.Positional] = Field(description="Folder to write.")
    to: Literal["sdmae", "timm"] = Field("sdmae", description="sdmae: all there is; timm: the encoder in timm's layout.")
    compact: bool = Field(
        False, description="To share: 16-bit weights, without heads that only training needs, with a model card (README.md)."
    )
    card: Path | None = Field(None, description="Model card to put beside the weights. Empty: the source's own, if it has one.")
    mpp: float | None = Field(
        None,
        ge=SMALLEST_MPP,
        le=LARGEST_MPP,
        description="Scale of what the model saw in µm/px, where the source does not say it, or wrongly.",
    )
    weights: str | None = Field(
        None, description="Which weights are meant, where a checkpoint holds those of several models: teacher, model_ema …"
    )
    overwrite: bool = Field(False, description="Write into a folder that is not empty; only a model of ours is replaced.")
    tile_size: int | None = Field(None, ge=16, le=2048, description="Tile size in px, where the file does not say it (224).")
    encoder_heads: int | None = Field(
        None, ge=1, le=64, description="Encoder heads, where the file does not say it (width / 64)."
    )
    decoder_heads: int | None = Field(None, ge=1, le=64, description="Decoder heads, where the file does not say it.")
    mean: tuple[Share, Share, Share] | None = Field(None, description="Pixel mean of [0, 1] RGB, where no timm config says it.")
    std: tuple[Share, Share, Share] | None = Field(None, description="Pixel standard deviation of [0, 1] RGB, likewise.")


def main(argv: list[str]) -> int:
    """Run ``sdmae convert``; return the exit status."""
    try:
        arguments = parse(ConvertArguments, argv, prog=PROG, description=DESCRIPTION)
    except UsageError as error:
        return refuse(PROG, str(error))
    from napari_sdmae.io.checkpoints.load import convert_checkpoint

    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", UserWarning)
            folder = convert_checkpoint(**arguments.model_dump())
    except FORESEEN as error:
        return complain(PROG, error)
    for note in notes:
        if issubclass(note.category, UserWarning):
            print(f"{PROG}: note: {note.message}", file=sys.stderr)
    print(f"{folder}: {_described(folder)}")
    if arguments.compact and (problems := card_problems(read_card(folder) or "")):
        print(f"{PROG}: note: complete {folder / CARD} before you share it: {'; '.join(problems)}", file=sys.stderr)
    return 0


def _described(folder: Path) -> str:
    """Return what was written, and its size."""
    info = model_info(folder)
    parts = "encoder and decoder" if info.has_decoder else "head and encoder" if is_head(read_config(folder)) else "encoder"
    sizes = f"{info.depth} blocks, {info.tile_size} px tiles, {info.patch_size} px patches"
    return f"{parts}, {info.encoder}, {sizes}, {size((folder / WEIGHTS).stat().st_size)}"
