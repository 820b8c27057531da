"""``sdmae reconstruct [MODEL] IMAGE --output DIR``: hide patches of an image and let a model fill them in."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_sdmae.cli._models import check_images, named_or_default
from napari_sdmae.cli._output import check_scale, common_parser, free_paths, guarded, heat, save_json, save_png, save_tiff

PROG = "sdmae reconstruct"
PICTURES = ("input.png", "masked.png", "reconstruction.png", "error.png", "error.tif", "reconstruction.json")


def main(argv: list[str]) -> int:
    """Run ``sdmae reconstruct``; return the exit status."""
    parser = common_parser(PROG, "Hide patches of an image, let a model fill them in, and write the pictures.")
    parser.add_argument("--mask-ratio", type=float, default=0.6, help="fraction of the patches to hide (default: 0.6)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed hides the same patches (default: 0)")
    arguments = parser.parse_intermixed_args(argv)
    return guarded(PROG, lambda: _write(arguments))


def _write(arguments: argparse.Namespace) -> list[Path]:
    """Reconstruct, write the files and return their paths."""
    check_scale(arguments.mpp)
    check_images(arguments.image)
    model = named_or_default(PROG, arguments.model)
    paths = free_paths(arguments.output, [f"{arguments.image.stem}-{name}" for name in PICTURES], arguments.overwrite)
    from napari_sdmae.inference.answers import read_field, reconstruct
    from napari_sdmae.io.images import read_mpp

    field = read_field(str(arguments.image), arguments.region)
    answer = reconstruct(model, field, mask_ratio=arguments.mask_ratio, seed=arguments.seed, device=arguments.device)
    error = answer["error"]
    # Errors above half the range are rare: a fixed scale keeps pictures comparable.
    for path, pixels in zip(paths, (field, answer["masked"], answer["reconstruction"], heat(error, 0, 0.5)), strict=False):
        save_png(path, pixels)
    save_tiff(paths[4], error, arguments.mpp or read_mpp(arguments.image))
    names = ("mean_error", "mask_ratio", "seed", "target_normalisation", "note")
    save_json(
        paths[5],
        {
            "image": str(arguments.image),
            "region": arguments.region,
            "model": answer["model"]["folder"],
            **{name: answer[name] for name in names},
        },
    )
    return paths
