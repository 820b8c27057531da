"""Image layers as a folder of TIFFs, so that the very same command can train on them without napari."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sdmae.humanize import different, slug
from napari_sdmae.io.atomic import atomic_path
from napari_sdmae.io.images.scale import resolution_tags
from napari_sdmae.layers.base import Source
from napari_sdmae.widgets.canvas.picture import RegionError, grouped, picture_of

MOST_PIXELS = 200_000_000  # of one plane; a slide larger than that is taken from its next pyramid level


def write_layers(layers: Sequence[Any], folder: Path) -> list[Path]:
    """Write every plane of the image `layers` into `folder` as RGB TIFF with its µm/px; return the files.

    The folder must be new or empty. A stack becomes one file per plane; what a plane is, ``picture_of`` says. Of a pyramid, the
    finest level with at most :data:`MOST_PIXELS` is written, with the µm/px of that level.

    Raises
    ------
    ValueError
        If there is no layer, or one that holds no picture, or one too large.
    FileExistsError, OSError
        If there is something in the folder, or it cannot be written.
    """
    if not layers:
        raise ValueError("no image layer is selected: select one or more in the layer list")
    layers = grouped(layers)
    pictures = [(layer, stem, _level(layer)) for layer, stem in zip(layers, _stems(layers), strict=True)]
    with atomic_path(folder, folder=True) as temporary:
        temporary.mkdir(exist_ok=True)
        names = [
            _write(plane, temporary / name, mpp)
            for layer, stem, level in pictures
            for plane, name, mpp in _planes(layer, stem, level)
        ]
    return [folder / name for name in names]


def finest_level(shapes: Sequence[tuple[int, int]], most: int = MOST_PIXELS) -> int:
    """Return the first of the pyramid's (H, W) `shapes` with at most `most` pixels; the last if all have more."""
    return next((index for index, (height, width) in enumerate(shapes) if height * width <= most), len(shapes) - 1)


def _level(layer: Any) -> int:
    """Return the level that is written, before anything is."""
    picture = picture_of(layer)
    index = finest_level(picture.shapes)
    height, width = picture.shapes[index]
    if height * width > MOST_PIXELS:
        raise RegionError(
            f"“{layer.name}” has {height * width / 1e6:,.0f} million pixels, at most {MOST_PIXELS / 1e6:.0f} are written. "
            "Choose the folder of its file as images instead."
        )
    return index


def _planes(layer: Any, stem: str, index: int) -> Iterator[tuple[NDArray[np.uint8], str, float | None]]:
    levels = list(layer.data) if layer.multiscale else [layer.data]
    picture = picture_of(layer)
    width = picture.shapes[index][1]
    mpp = Source.of(layer).mpp
    mpp = mpp * picture.shapes[0][1] / width if mpp else None
    whole = (slice(None), slice(None))
    for number, place in enumerate(np.ndindex(*picture.planes)):
        name = f"{stem}.tif" if math.prod(picture.planes) == 1 else f"{stem}-{number:04d}.tif"
        yield picture.rgb8(levels[index], place, whole), name, mpp


def _stems(layers: Iterable[Any]) -> list[str]:
    """Return one file name per layer, made of letters every system takes, each different."""
    return different(slug(layer.name, "layer") for layer in layers)


def _write(plane: NDArray[np.uint8], path: Path, mpp: float | None) -> str:
    tifffile.imwrite(path, plane, photometric="rgb", compression="zlib", **resolution_tags(mpp))
    return path.name
