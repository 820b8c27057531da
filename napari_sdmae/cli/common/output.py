"""What the commands that look into a model share: arguments, files that are not overwritten, pictures."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.cli.common.options import add_device, add_overwrite, add_region, add_scale
from napari_sdmae.cli.common.parser import FORESEEN, UsageError, complain
from napari_sdmae.io.atomic import check_free, clear_leftovers, write_atomically

MODEL_HELP = "run folder, model folder or name of a shipped model (default: the one that comes with napari-sdmae)"
HEAT = ((0, 0, 4), (51, 10, 95), (120, 28, 109), (187, 55, 84), (237, 105, 37), (252, 181, 25), (252, 255, 164))
"""Colours of a heat map from low to high, evenly spaced points of matplotlib's inferno (CC0)."""


def common_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that ``reconstruct`` and ``attention`` share."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("model", metavar="MODEL", nargs="?", help=MODEL_HELP)
    parser.add_argument("image", metavar="IMAGE", type=Path, help="PNG, JPEG, TIFF or BMP")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder for the pictures, made if needed")
    add_region(parser)
    add_scale(parser)
    add_device(parser)
    add_overwrite(parser)
    return parser


def guarded(prog: str, work: Callable[[], list[Path]]) -> int:
    """Run `work`, print the files it wrote, and return the exit status; errors become one line."""
    try:
        for path in work():
            print(path)
    except FORESEEN as error:
        return complain(prog, error)
    return 0


def check_outputs(folder: Path, names: list[str], overwrite: bool) -> None:
    """Raise `UsageError` or `FileExistsError` if one of `names` in `folder` may not be written, or the folder is a file.

    What comes later can take minutes: it is known before. What a call that was killed had finished is moved to its place first.
    """
    if any(place.exists() and not place.is_dir() for place in (folder, *folder.parents)):
        raise UsageError(f"--output {folder} is a file or lies below one: give a folder")
    clear_leftovers(folder)
    if there := [name for name in names if (folder / name).is_file() and not overwrite]:
        raise UsageError(f"{', '.join(there)} already in {folder}: give --overwrite or another --output")
    for name in names:
        check_free(folder / name, overwrite)


def heat(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Return values (H, W) as colours (H, W, 3): black at `low`, light yellow at `high`."""
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    points = np.linspace(0, 1, len(HEAT))
    channels = [np.interp(share, points, [colour[channel] for colour in HEAT]) for channel in range(3)]
    colours: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write uint8 RGB (H, W, 3)."""
    buffer = io.BytesIO()  # Pillow's own files tell no reason when a disk is full
    Image.fromarray(pixels).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue(), overwrite=False)


def save_tiff(path: Path, values: NDArray[np.float32], mpp: float | None, rgb: bool = False) -> None:
    """Write float32 values (H, W), (N, H, W) or RGB (H, W, 3) as TIFF, with the size of a pixel in µm if it is known."""
    import tifffile

    from napari_sdmae.io.images.scale import resolution_tags

    data = io.BytesIO()  # into a file NumPy would write in a way that does not notice a full disk
    tifffile.imwrite(data, values, photometric="rgb" if rgb else "minisblack", metadata=None, **resolution_tags(mpp))
    write_atomically(path, data.getvalue())


def save_json(path: Path, values: dict[str, Any], overwrite: bool = False) -> None:
    """Write `values` for people and programs to read."""
    write_atomically(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode(), overwrite)
