"""Previews of a run as layers: probe tiles, or validation images, side by side."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.layers.base import LayerData
from napari_sdmae.text.documents import read_json

PREVIEWS = ("input", "masked", "reconstruction", "error", "truth", "prediction")


RIGHT, WRONG, SAID = "#00c8a0", "#ff5a5a", "#3fa7d6"  # the last is read on a black and on a white canvas
PREVIEW_GAP = 8  # px


def preview_layers(run: Path, preview: Path) -> list[LayerData]:
    """Return the preview file of a run as strips of tiles, one below the other.

    `preview` is ``previews/epoch-000003.npz``: uint8 (N, S, S, 3), the error of pre-training float32 (N, S, S); of fine-tuning
    truth and prediction int32 (N, S, S), or (N,) where whole tiles have a class. Names and colours of classes are those of the
    run's head, once it has one.

    Raises
    ------
    ValueError
        If the file is damaged, or only half of it has come over a shared disk yet.
    OSError
        If it cannot be read.
    """
    found = _arrays(preview)
    strips = {name: tiles for name, tiles in found.items() if tiles.ndim > 1}
    layers = [_preview_layer(run, preview, row, name, strip(tiles)) for row, (name, tiles) in enumerate(strips.items())]
    classes, instances = _head(run)
    if classes and not instances:
        colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
        colours |= {int(one["value"]): [*(part / 255 for part in one["colour"]), 1.0] for one in classes}
        for _, attributes, kind in layers:
            attributes |= {"colormap": colours} if kind == "labels" else {}
    if "truth" in found and found["truth"].ndim == 1:
        layers.append(_tile_classes(run, preview, found, {int(one["value"]): str(one["name"]) for one in classes}))
    return layers


def _arrays(preview: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(preview) as arrays:
            return {name: arrays[name] for name in PREVIEWS if name in arrays}
    except (BadZipFile, EOFError, zlib.error) as error:  # what NumPy raises for half a file or an empty one
        raise ValueError(f"{preview}: the preview is damaged or not complete yet ({error})") from None


def _head(run: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the classes of the run's head, and whether it numbers objects; no classes while there is no head."""
    try:
        content = read_json(run / "model" / "config.json")
    except (OSError, ValueError):
        return [], False
    if not isinstance(content, dict):
        return [], False
    return list(content.get("classes", [])), content.get("task") == "instances"


def strip(tiles: NDArray[Any]) -> NDArray[Any]:
    """Return `tiles` (N, S, S) or (N, S, S, 3) side by side, with a gap of zeros between them."""
    padded = np.pad(tiles, [(0, 0), (0, 0), (0, PREVIEW_GAP)] + [(0, 0)] * (tiles.ndim - 3))
    return np.concatenate(list(padded), axis=1)[:, :-PREVIEW_GAP]


def _preview_layer(run: Path, preview: Path, row: int, name: str, data: NDArray[Any]) -> LayerData:
    place = {"translate": (row * (data.shape[0] + PREVIEW_GAP), 0)}
    if name in ("truth", "prediction"):
        return data, _preview_mark(run, preview, name) | place | {"opacity": 0.8}, "labels"
    style: dict[str, Any] = {"rgb": True} if data.ndim == 3 else {"colormap": "inferno", "contrast_limits": (0.0, 0.5)}
    return data, _preview_mark(run, preview, name) | place | style, "image"


def _preview_mark(run: Path, preview: Path, name: str) -> dict[str, Any]:
    title = f"{run.name} · {name}"
    mark = {"id": f"{run}/{name}", "name": title, "run": str(run), "preview": name, "file": preview.name}
    return {"name": title, "metadata": {METADATA_KEY: mark}}


def _tile_classes(run: Path, preview: Path, found: Mapping[str, NDArray[Any]], names: Mapping[int, str]) -> LayerData:
    """Return a frame around each tile that says which class it is, and which it was taken for where that is another."""
    edge = found["input"].shape[1]
    starts = [number * (edge + PREVIEW_GAP) for number in range(len(found["input"]))]
    frames = [np.array([[0, left], [0, left + edge], [edge, left + edge], [edge, left]]) - 0.5 for left in starts]
    pairs = list(zip(found["truth"].tolist(), found["prediction"].tolist(), strict=True))
    said = [names.get(truth, f"class {truth}") for truth, _ in pairs]
    said = [
        word if truth == taken else f"{word}\n→ {names.get(taken, f'class {taken}')}"
        for word, (truth, taken) in zip(said, pairs, strict=True)
    ]
    style = {
        "shape_type": "rectangle",
        "features": {"said": said},
        "text": {"string": "{said}", "size": 9, "color": SAID, "anchor": "upper_left", "translation": (-edge / 12, 0)},
        "edge_color": [RIGHT if truth == taken else WRONG for truth, taken in pairs],
        "edge_width": max(edge / 60, 1.0),
        "face_color": "transparent",
        "opacity": 1.0,
    }
    return frames, _preview_mark(run, preview, "prediction") | {"translate": (0, 0)} | style, "shapes"
