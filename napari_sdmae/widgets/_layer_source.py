"""Image layers as a folder of TIFFs, so that the very same command can train on them without napari."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sdmae.io.files import atomic_path
from napari_sdmae.layers import Source
from napari_sdmae.widgets._field import rgb8

MOST_PIXELS = 200_000_000  # of one plane; a slide larger than that is taken from its next pyramid level


def write_layers(layers: Sequence[Any], folder: Path) -> list[Path]:
    """Write every plane of the image `layers` into `folder` as RGB TIFF with its µm/px; return the files.

    The folder must be new or empty. A stack (…, H, W[, 3]) becomes one file per plane. Of a pyramid, the finest level with at
    most :data:`MOST_PIXELS` is written, with the µm/px of that level.

    Raises
    ------
    ValueError
        If there is no layer.
    FileExistsError, OSError
        If there is something in the folder, or it cannot be written.
    """
    if not layers:
        raise ValueError("no image layer is selected: select one or more in the layer list")
    with atomic_path(folder, folder=True) as temporary:
        temporary.mkdir(exist_ok=True)
        names = [
            _write(plane, temporary / name, mpp)
            for layer, stem in zip(layers, _stems(layers), strict=True)
            for plane, name, mpp in _planes(layer, stem)
        ]
    return [folder / name for name in names]


def finest_level(shapes: Sequence[tuple[int, int]], most: int = MOST_PIXELS) -> int:
    """Return the first of the pyramid's (H, W) `shapes` with at most `most` pixels; the last if all have more."""
    return next((index for index, (height, width) in enumerate(shapes) if height * width <= most), len(shapes) - 1)


def _planes(layer: Any, stem: str) -> Iterator[tuple[NDArray[np.uint8], str, float | None]]:
    levels = list(layer.data) if layer.multiscale else [layer.data]
    trailing = 3 if layer.rgb else 2
    shapes = [tuple(level.shape[level.ndim - trailing :][:2]) for level in levels]
    index = finest_level(shapes)
    mpp = Source.of(layer).mpp
    mpp = mpp * shapes[0][1] / shapes[index][1] if mpp else None
    data = levels[index]
    leading = data.shape[: data.ndim - trailing]
    limits = float(layer.contrast_limits[0]), float(layer.contrast_limits[1])
    for number, place in enumerate(np.ndindex(*leading)):
        name = f"{stem}.tif" if math.prod(leading) == 1 else f"{stem}-{number:04d}.tif"
        yield rgb8(np.asarray(data[place]), bool(layer.rgb), limits), name, mpp


def _stems(layers: Iterable[Any]) -> list[str]:
    """Return one file name per layer, made of letters every system takes, each different."""
    stems: list[str] = []
    for layer in layers:
        plain = re.sub(r"[^\w.-]+", "-", layer.name).strip("-.") or "layer"
        stem, number = plain, 2
        while stem in stems:
            stem, number = f"{plain}-{number}", number + 1
        stems.append(stem)
    return stems


def _write(plane: NDArray[np.uint8], path: Path, mpp: float | None) -> str:
    scale: dict[str, Any] = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, plane, photometric="rgb", compression="zlib", **scale)
    return path.name
