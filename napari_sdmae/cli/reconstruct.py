"""``sdmae reconstruct [MODEL] IMAGE --output DIR``: hide patches of an image and let a model fill them in."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.cli.common.models import check_images, named_or_default
from napari_sdmae.cli.common.options import check_scale
from napari_sdmae.cli.common.output import check_outputs, common_parser, guarded, heat, save_json, save_png, save_tiff
from napari_sdmae.cli.common.which import add_which, tell, which_of
from napari_sdmae.config.pretrain import MASK_RATIO
from napari_sdmae.io.atomic import atomic_files
from napari_sdmae.notices import reconstruction_note

if TYPE_CHECKING:
    from napari_sdmae.inference.reconstruction import Reconstruction
    from napari_sdmae.io.model_info.info import ModelInfo

PROG = "sdmae reconstruct"
PICTURES = ("input.png", "masked.png", "reconstruction.png", "error.png", "error.tif", "reconstruction.json")


def main(argv: list[str]) -> int:
    """Run ``sdmae reconstruct``; return the exit status."""
    parser = common_parser(PROG, "Hide patches of an image, let a model fill them in, and write the pictures.")
    told = "fraction of the patches to hide (default: %(default)s)"
    parser.add_argument("--mask-ratio", type=float, default=MASK_RATIO, help=told)
    parser.add_argument("--seed", type=int, default=0, help="the same seed hides the same patches (default: 0)")
    add_which(parser)
    arguments = parser.parse_intermixed_args(argv)
    return guarded(PROG, lambda: _write(arguments))


def _write(arguments: argparse.Namespace) -> list[Path]:
    """Reconstruct, write the files and return their paths."""
    check_scale(arguments.mpp)
    check_images(arguments.image)
    which = which_of(arguments)
    model = named_or_default(PROG, arguments.model)
    names = [f"{arguments.image.stem}-{name}" for name in PICTURES]
    check_outputs(arguments.output, names, arguments.overwrite)
    from napari_sdmae.io.images.intensity import brightness_notes
    from napari_sdmae.io.images.pictures import open_picture, read_field

    picture = open_picture(arguments.image, arguments.region, arguments.mpp, which)
    field = read_field(picture)
    tell(PROG, arguments.image, [*picture.notes, *brightness_notes(field)])
    info, result = _reconstruct(arguments, model, field)
    with atomic_files(arguments.output, names[-1], arguments.overwrite) as folder:
        _save([folder / name for name in names], arguments, field, picture.mpp, info, result)
    return [arguments.output / name for name in names]


def _reconstruct(arguments: argparse.Namespace, model: str, field: NDArray[np.uint8]) -> tuple[ModelInfo, Reconstruction]:
    """Load the model and let it fill in what is hidden of the field."""
    from napari_sdmae.devices.select import select_device
    from napari_sdmae.inference.reconstruction import reconstruct
    from napari_sdmae.io.checkpoints.load import load_model
    from napari_sdmae.io.model_info.info import model_info

    info = model_info(model)
    network, how = load_model(info.folder, select_device(arguments.device).device), info.target_normalisation
    options = {"mask_ratio": arguments.mask_ratio, "seed": arguments.seed}
    return info, reconstruct(network, field, target_normalisation=how, **options)


def _save(
    paths: list[Path],
    arguments: argparse.Namespace,
    field: NDArray[np.uint8],
    mpp: float | None,
    model: ModelInfo,
    result: Reconstruction,
) -> None:
    """Write the files of :data:`PICTURES`."""
    pictures = field, result.masked, result.reconstruction, heat(result.error, 0, 0.5)
    # Errors above half the range are rare: a fixed scale keeps pictures comparable.
    for path, pixels in zip(paths, pictures, strict=False):
        save_png(path, pixels)
    save_tiff(paths[4], result.error, mpp)
    report = {
        "image": str(arguments.image),
        "region": arguments.region,
        "model": str(model.folder),
        "mean_error": result.mean_error,
        "mask_ratio": arguments.mask_ratio,
        "seed": arguments.seed,
        "target_normalisation": model.target_normalisation,
        "note": reconstruction_note(model.target_normalisation),
    }
    save_json(paths[5], report)
