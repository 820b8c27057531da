"""``sdmae embed [MODEL] INPUT… --output FEATURES``: write the features of the tiles of images, with coordinates."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sdmae.cli.common.inputs import Input, UnwritableError, for_each, gather
from napari_sdmae.cli.common.models import named_or_default, split_inputs
from napari_sdmae.cli.common.options import (
    add_batch,
    add_device,
    add_overwrite,
    add_precision,
    add_scale,
    check_batch,
    check_scale,
)
from napari_sdmae.cli.common.output import MODEL_HELP, check_outputs
from napari_sdmae.cli.common.parser import FORESEEN, UsageError, complain
from napari_sdmae.cli.common.which import add_which, tell, which_of
from napari_sdmae.humanize import several

if TYPE_CHECKING:
    from napari_sdmae.inference.embedding.embed import Tiling
    from napari_sdmae.inference.embedding.files import FeatureWriter
    from napari_sdmae.io.checkpoints.load import Encoder

PROG = "sdmae embed"
DESCRIPTION = (
    "Write the features of the tiles of images: what the encoder of a run, a head or a timm folder says about each, with file, "
    "row and column. A file that cannot be used does not end the others (exit status 3 if none could be used, 1 if some failed)."
)


def main(argv: list[str]) -> int:
    """Run ``sdmae embed``; return the exit status."""
    arguments = _parser().parse_intermixed_args(argv)
    try:
        return _run(arguments)
    except (*FORESEEN, UnwritableError) as error:
        return complain(PROG, error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROG, description=DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", nargs="?", help=f"head folder, {MODEL_HELP}")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="images, or folders of images")
    parser.add_argument("--output", metavar="FILE", type=Path, required=True, help="file to write, .npz or .parquet")
    parser.add_argument("--tile", type=int, metavar="PX", help="edge of the tiles as the model sees them (default: the model's)")
    parser.add_argument("--stride", type=int, metavar="PX", help="distance between tiles (default: side by side)")
    parser.add_argument("--pool", choices=("mean", "tokens"), default="mean", help="mean of the patch tokens (default), or all")
    parser.add_argument("--tissue", type=float, default=0.0, metavar="FRACTION", help="leave out tiles with less tissue, 0 to 1")
    add_scale(parser)
    add_which(parser)
    add_batch(parser)
    add_device(parser)
    add_precision(parser)
    add_overwrite(parser)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    """Embed all images; return the exit status."""
    _check(arguments)
    named, given = split_inputs(arguments.model, arguments.inputs)
    inputs, model = gather(given), named_or_default(PROG, named)
    import torch

    from napari_sdmae.data.image_folder import DataError
    from napari_sdmae.devices.precision import answering
    from napari_sdmae.devices.select import select_device
    from napari_sdmae.inference.embedding.embed import Tiling
    from napari_sdmae.inference.embedding.files import writing
    from napari_sdmae.io.checkpoints.load import load_encoder

    device = torch.device(select_device(arguments.device).device)
    encoder = load_encoder(model, device)
    tiling = Tiling(arguments.tile, arguments.stride, arguments.tissue)
    tile, stride = tiling.fitted(encoder)
    context = answering(device, arguments.precision)
    about = {
        "model": model,
        "pool": arguments.pool,
        "tile": tile,
        "stride": stride,
        "model_mpp": nan if encoder.mpp is None else encoder.mpp,
    }
    with writing(arguments.output, about, arguments.overwrite) as writer:
        job = Job(arguments, encoder, tiling, context, writer)
        status = for_each(PROG, inputs, job.embed)
        if not job.count:
            if status:
                raise DataError("no features were written: no image could be used")
            raise DataError(f"no tile with at least {arguments.tissue:g} of tissue: give a smaller --tissue")
    print(f"{arguments.output}: {several(job.count, 'tile', 'tiles')} of {tile} px")
    return status


class Job:
    """What is done with each image."""

    def __init__(
        self, arguments: argparse.Namespace, encoder: Encoder, tiling: Tiling, context: Any, writer: FeatureWriter
    ) -> None:
        self._arguments, self._encoder, self._tiling, self._context, self._writer = arguments, encoder, tiling, context, writer
        self.count = 0

    def embed(self, one: Input) -> Iterator[Path]:
        """Write the features of an image; all in one file, so that no path is yielded."""
        from napari_sdmae.inference.embedding.embed import embed
        from napari_sdmae.io.images.pictures import FilePicture

        picture = FilePicture(one.path, self._arguments.mpp, which_of(self._arguments))
        notes: tuple[str, ...] = ()
        options = {"pool": self._arguments.pool, "batch": self._arguments.batch, "autocast": self._context}
        for some in embed(self._encoder, picture, tiling=self._tiling, **options):
            try:
                self._writer.add(str(one.path), picture.mpp, some)
            except OSError as error:
                raise UnwritableError(f"{self._arguments.output}: {error.strerror}") from error
            self.count += len(some.features)
            notes = some.notes
        tell(PROG, one.path, [*picture.notes, *notes])
        yield from ()


def _check(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for what cannot be done, before anything is."""
    from napari_sdmae.inference.embedding.files import check_end

    check_scale(arguments.mpp)
    check_end(arguments.output)
    which_of(arguments)
    if not 0 <= arguments.tissue <= 1:
        raise UsageError(f"--tissue {arguments.tissue:g}: expected a fraction from 0 to 1, such as 0.25")
    check_batch(arguments.batch)
    check_outputs(arguments.output.parent, [arguments.output.name], arguments.overwrite)
