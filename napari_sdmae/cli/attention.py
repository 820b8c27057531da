"""``sdmae attention [MODEL] IMAGE --output DIR``: attention maps of an image as picture, numbers and TIFF."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.cli.common.models import check_images, named_or_default
from napari_sdmae.cli.common.options import check_scale
from napari_sdmae.cli.common.output import check_outputs, common_parser, guarded, heat, save_json, save_png, save_tiff
from napari_sdmae.cli.common.parser import UsageError
from napari_sdmae.cli.common.which import add_which, tell, which_of
from napari_sdmae.config.attention import METHODS, TAKE_PATCH
from napari_sdmae.inference.attention.result import AttentionResult
from napari_sdmae.io.atomic import atomic_files
from napari_sdmae.notices import ATTENTION
from napari_sdmae.typing import RGB

if TYPE_CHECKING:
    from napari_sdmae.io.images.pictures import Picture

PROG = "sdmae attention"
STRENGTH = 0.6
"""Share of the map's colour in the overlay; the rest is the tissue in grey."""


def main(argv: list[str]) -> int:
    """Run ``sdmae attention``; return the exit status."""
    parser = common_parser(
        PROG, "Write an attention map of an image: overlay (PNG), map (TIFF) and numbers (JSON). Attention is not explanation."
    )
    parser.add_argument("--method", choices=METHODS, default="received", help="default: attention received by each patch")
    parser.add_argument("--block", type=int, default=-1, help="from 0; -1 is the last (default)")
    parser.add_argument("--head", type=_head, default="mean", help="mean (default), a number from 0, or grid for all heads")
    parser.add_argument(
        "--query",
        nargs=2,
        type=float,
        metavar=("ROW", "COL"),
        help="a pixel of the query patch, from 0 at the corner of the region (without one, of the image); default: the centre",
    )
    parser.add_argument("--downsample", type=_downsample, default="auto", help="reduce the image by an integer first, or auto")
    parser.add_argument(
        "--interpolation",
        choices=("nearest", "bilinear"),
        default="nearest",
        help="of the overlay; the map itself has one value per patch",
    )
    add_which(parser)
    arguments = parser.parse_intermixed_args(argv)
    return guarded(PROG, lambda: _write(arguments))


def _head(text: str) -> int | str:
    if text in ("mean", "grid"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected mean, grid or a number from 0") from None


def _downsample(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected auto or an integer from 1") from None


def _write(arguments: argparse.Namespace) -> list[Path]:
    """Compute the map, write the files and return their paths."""
    from napari_sdmae.io.model_info.info import model_info

    _check(arguments)
    check_images(arguments.image)
    which = which_of(arguments)
    model = named_or_default(PROG, arguments.model)
    name = _name(arguments, model_info(model).depth)
    names = [f"{name}.{suffix}" for suffix in ("png", "tif", "json")]
    check_outputs(arguments.output, names, arguments.overwrite)
    from napari_sdmae.io.images.field import MAX_PIXELS
    from napari_sdmae.io.images.intensity import brightness_notes
    from napari_sdmae.io.images.pictures import fit_picture, open_picture, read_field

    picture = open_picture(arguments.image, arguments.region, arguments.mpp, which)
    mpp, large = picture.mpp, picture.height * picture.width > MAX_PIXELS
    field = None if large else read_field(picture)
    result = _map(arguments, model, picture, field)
    values, cell, shown = result.map.values, result.cell[0], result.cell[0]
    if field is None:  # of a large picture the overlay is drawn on what the model saw
        factor = result.downsample
        shown = cell // factor
        again = open_picture(arguments.image, arguments.region, arguments.mpp, which)
        seen, _ = fit_picture(again, shown, factor)
        field = seen[: -(-picture.height // factor), : -(-picture.width // factor)]
    tell(PROG, arguments.image, [*picture.notes, *brightness_notes(field)])
    low, high = _colour_range(values, arguments.method)
    with atomic_files(arguments.output, names[-1], arguments.overwrite) as folder:
        save_png(folder / names[0], overlay(field, values, shown, low, high, arguments.interpolation))
        save_tiff(folder / names[1], values, mpp and mpp * cell, rgb=arguments.method == "pca")
        save_json(folder / names[2], _report(arguments, result) | {"colour_range": [low, high]})
    return [arguments.output / name for name in names]


def _map(arguments: argparse.Namespace, model: str, picture: Picture, field: RGB | None) -> AttentionResult:
    """Return the map of a `field`, or of a `picture` that is too large to be read at once."""
    from napari_sdmae.devices.select import select_device
    from napari_sdmae.inference.attention.encode import encode_field
    from napari_sdmae.inference.attention.field_map import choose_downsample, map_field
    from napari_sdmae.io.checkpoints.load import load_encoder
    from napari_sdmae.io.model_info.info import model_info

    info, size = model_info(model), (picture.height, picture.width)
    factor = choose_downsample(size, info.patch_size, arguments.downsample)
    encoder = load_encoder(info.folder, select_device(arguments.device).device)
    state = encode_field(encoder, picture if field is None else field, downsample=factor)
    chosen = {key: getattr(arguments, key) for key in ("method", "block", "head", "query")}
    return map_field(state, info, size, downsample=factor, mpp=picture.mpp, **chosen)


def _check(arguments: argparse.Namespace) -> None:
    """Reject an invalid ``--mpp`` and a ``--query`` that the method ignores."""
    check_scale(arguments.mpp)
    if arguments.query is not None and arguments.method not in TAKE_PATCH:
        raise UsageError(f"--query has no effect on method {arguments.method}: leave it out, or choose {', '.join(TAKE_PATCH)}")


def _name(arguments: argparse.Namespace, depth: int) -> str:
    """Return what tells this map from others of the same image."""
    head = {"mean": "", "grid": "-heads"}.get(arguments.head, f"-h{arguments.head}")
    query = "" if arguments.query is None else "-r{:.0f}c{:.0f}".format(*arguments.query)
    return f"{arguments.image.stem}-{arguments.method}-b{arguments.block % depth}{head}{query}"


def _colour_range(values: NDArray[np.float32], method: str) -> tuple[float, float]:
    """Return the values shown darkest and brightest; a few patches that take most attention do not hide the others."""
    low, high = np.percentile(values, (1, 99))
    return float(low), 1.0 if method == "similarity" else float(high)


def overlay(field: RGB, values: NDArray[np.float32], cell: int, low: float, high: float, interpolation: str) -> RGB:
    """Lay a map, or a mosaic of one map per head, over the tissue.

    Parameters
    ----------
    field
        uint8 (H, W, 3).
    values
        (rows, columns), (heads, rows, columns), or RGB in [0, 1] (rows, columns, 3).
    cell
        Edge of a map cell in pixels.
    low, high
        Values shown darkest and brightest.
    interpolation
        nearest or bilinear.
    """
    if values.ndim == 3 and values.shape[-1] != 3:
        return _mosaic([overlay(field, single, cell, low, high, interpolation) for single in values])
    channels = np.moveaxis(values, -1, 0) if values.ndim == 3 else values[None]
    large = [_enlarged(channel, cell, interpolation)[: field.shape[0], : field.shape[1]] for channel in channels]
    colours = np.stack(large, -1) * 255 if len(large) == 3 else heat(large[0], low, high)
    grey = field.mean(-1, keepdims=True)
    blended: RGB = np.rint(STRENGTH * colours + (1 - STRENGTH) * grey).astype(np.uint8)
    return blended


def _enlarged(values: NDArray[np.float32], cell: int, interpolation: str) -> NDArray[np.float32]:
    """Return values (rows, columns) with `cell` pixels for each, pixel centres kept in place."""
    size = values.shape[1] * cell, values.shape[0] * cell
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling[interpolation.upper()]))


def _mosaic(pictures: list[RGB], gap: int = 4) -> RGB:
    """Return pictures of one size beside and below each other, row by row, on white."""
    columns = math.ceil(math.sqrt(len(pictures)))
    height, width = pictures[0].shape[0] + gap, pictures[0].shape[1] + gap
    sheet = np.full((math.ceil(len(pictures) / columns) * height - gap, columns * width - gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height - gap, left : left + width - gap] = picture
    return sheet


def _report(arguments: argparse.Namespace, result: AttentionResult) -> dict[str, Any]:
    """Return what the JSON file says."""
    return {
        "image": str(arguments.image),
        "region": arguments.region,
        "model": str(result.model.folder),
        "method": result.map.method,
        "block": result.map.block,
        "blocks": result.blocks,
        "head": result.map.head,
        "heads": result.heads,
        "query": result.query,
        "query_patch": result.map.query,
        "grid": (result.map.grid.rows, result.map.grid.columns),
        "scale": result.cell,
        "translate": result.first,
        "downsample": result.downsample,
        "mpp": result.mpp,
        "statistics": result.statistics,
        "variance": result.variance,
        "warnings": result.warnings,
        "note": ATTENTION,
    }
