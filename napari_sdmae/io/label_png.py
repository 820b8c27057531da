"""Labels as PNG, 8 or 16 bits, and beside it ``NAME.classes.json``: classes, place and scale, class of each object."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.io.geojson_features import load_json
from napari_sdmae.io.images import UnusableImage
from napari_sdmae.io.label_description import describe, restore, undescribed
from napari_sdmae.io.label_files import UnusableLabels, aside, check_free
from napari_sdmae.io.label_objects import check_labels
from napari_sdmae.io.label_pixels import read_label_pixels
from napari_sdmae.label_map import LabelMap

LARGEST = 65_535


def classes_file(path: Path) -> Path:
    """Return where the classes of the PNG at `path` are kept."""
    return path.with_name(f"{path.stem}.classes.json")


def nuclei_file(path: Path) -> Path:
    """Return where the nuclei of the PNG of cells at `path` are kept."""
    return path.with_name(f"{path.stem}.nuclei.png")


def write_label_png(label_map: LabelMap, path: Path, *, indexed: bool = False, overwrite: bool = False) -> list[Path]:
    """Write labels as grey values, and their classes and measurements as JSON beside them; return all files written.

    Parameters
    ----------
    label_map
        What to write; labels up to 65,535.
    path
        ``.png``.
    indexed
        Whether the values are shown in the colours of their classes (8 bits only). Some programs then read colours
        instead of labels.
    overwrite
        Whether files that are there may be replaced.

    Raises
    ------
    ValueError
        If the labels are none, or too large for PNG.
    FileExistsError, OSError
        If a file is there, or cannot be written.
    """
    check_labels(label_map)
    if (largest := int(label_map.labels.max(initial=0))) > LARGEST:
        raise ValueError(f"a label of {largest}: PNG holds at most {LARGEST:,}; choose OME-TIFF, OME-Zarr or GeoJSON")
    description = json.dumps(describe(label_map, measurements=True), indent=1, ensure_ascii=False, allow_nan=False)
    contents = {classes_file(path): description.encode(), path: _encode(label_map, label_map.labels, indexed)}
    if label_map.nuclei is not None:
        contents[nuclei_file(path)] = _encode(label_map, label_map.nuclei, False)
    for one in contents:
        check_free(one, overwrite)
    with ExitStack() as stack:
        for one, data in contents.items():
            stack.enter_context(aside(one, overwrite)).write_bytes(data)
    if label_map.nuclei is None and overwrite:
        nuclei_file(path).unlink(missing_ok=True)  # nuclei of earlier cells would be read with these labels
    return list(contents)


def _encode(label_map: LabelMap, labels: NDArray[np.int32], indexed: bool) -> bytes:
    largest = int(label_map.labels.max(initial=0))
    if largest > 255:
        return bytes(imagecodecs.png_encode(labels.astype(np.uint16)))
    picture = Image.fromarray(labels.astype(np.uint8))
    if indexed:
        picture = picture.convert("P", palette=Image.Palette.WEB)
        picture.frombytes(labels.astype(np.uint8).tobytes())
        colours = [(0, 0, 0), *(label_map.class_at(label).colour for label in range(1, largest + 1))]
        picture.putpalette([value for colour in colours for value in colour])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def read_label_png(path: Path | str, *, mpp: float | None = None, instances: bool | None = None) -> LabelMap:
    """Read labels from a PNG, BMP or GIF, with ``NAME.classes.json`` when that lies beside it.

    Parameters
    ----------
    path
        Grey or indexed picture of 1 to 16 bits.
    mpp
        µm per full-resolution pixel; None: as the JSON says.
    instances
        Of a bare picture: whether each value is one object. None: no for 8 bits, yes for 16.

    Raises
    ------
    UnusableLabels
        If it is no picture of labels, or the JSON is damaged or of another picture.
    """
    path = Path(path)
    labels = _decode(path)
    if not classes_file(path).exists():
        return undescribed(labels, labels.dtype.itemsize > 1 if instances is None else instances, mpp, "")
    description = load_json(classes_file(path))
    if not isinstance(description, dict) or description.get("shape") != list(labels.shape):
        raise UnusableLabels(f"{classes_file(path).name} beside it is of another picture (its shape is not {labels.shape})")
    nuclei = _decode(nuclei_file(path)) if nuclei_file(path).exists() else None
    return restore(description | ({} if mpp is None else {"mpp": mpp}), labels, nuclei=nuclei)


def _decode(path: Path) -> NDArray[np.integer]:
    try:
        values = read_label_pixels(path)
    except UnusableImage as error:
        raise UnusableLabels(str(error)) from None
    return values.astype(np.uint8) if values.dtype == bool else values
