"""``sdmae convert``: checkpoints of other programs to model folders, and back to timm."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from napari_sdmae.cli._arguments import UsageError, explain, parse, refuse
from napari_sdmae.config import Settings

Share = Annotated[float, Field(gt=0, le=1)]
PROG = "sdmae convert"
DESCRIPTION = (
    "Convert a checkpoint to a model folder. SRC: the authors' or a facebookresearch MAE .pth, a timm state dict or folder, "
    "a run folder, a model folder or a shipped model. A source without decoder becomes an encoder folder."
)


class ConvertArguments(Settings):
    """Arguments of ``sdmae convert``."""

    source: Annotated[str, tyro.conf.Positional] = Field(description="Checkpoint file, folder or name of a shipped model.")
    destination: Annotated[Path, tyro.conf.Positional] = Field(description="Folder to write.")
    to: Literal["sdmae", "timm"] = Field("sdmae", description="sdmae: the whole model; timm: the encoder in timm's layout.")
    overwrite: bool = Field(False, description="Write into a folder that is not empty.")
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
    from napari_sdmae.io.checkpoints import convert_checkpoint, model_info

    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", UserWarning)
            folder = convert_checkpoint(**arguments.model_dump())
    except (FileExistsError, FileNotFoundError, ValueError) as error:
        return refuse(PROG, explain(error))
    except OSError as error:  # a full disk, no permission, a destination below a file
        print(f"{PROG}: {explain(error)}", file=sys.stderr)
        return 1
    for note in notes:
        if issubclass(note.category, UserWarning):
            print(f"{PROG}: note: {note.message}", file=sys.stderr)
    info = model_info(folder)
    parts = "encoder and decoder" if info.has_decoder else "encoder"
    print(f"{folder}: {parts}, {info.encoder}, {info.depth} blocks, {info.tile_size} px tiles, {info.patch_size} px patches")
    return 0
