"""Labels as PNG, 8 or 16 bits, and beside it ``NAME.classes.json``: classes, place and scale, class of each object."""

from __future__ import annotations

import io
import json
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.io.atomic import atomic_files, check_free
from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.io.labels.description import describe, restore, undescribed
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.geojson.features import load_json
from napari_sdmae.io.labels.pixels import read_label_pixels
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.objects import check_labels

LARGEST = 65_535
NUCLEI = "has_nuclei"
"""Key of the JSON: nuclei of earlier cells that still lie there are not of these labels."""


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
    about = describe(label_map, measurements=True) | {NUCLEI: label_map.nuclei is not None}
    contents = {classes_file(path): json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False).encode()}
    contents[path] = _encode(label_map, label_map.labels, indexed)
    if label_map.nuclei is not None:
        contents[nuclei_file(path)] = _encode(label_map, label_map.nuclei, False)
    for one in contents:
        check_free(one, overwrite)
    _check_companions(path, [one for one in contents if one != path])
    with atomic_files(path.parent, classes_file(path).name, overwrite) as folder:
        for one, data in contents.items():
            (folder / one.name).write_bytes(data)
    return list(contents)


def _check_companions(path: Path, companions: list[Path]) -> None:
    """Raise `FileExistsError` for files beside the PNG that nobody named and that are not of earlier labels of ours."""
    if any(one.exists() for one in companions) and not _is_description(classes_file(path)):
        there = next(one for one in companions if one.exists())
        raise FileExistsError(f"{there} is there, and napari-sdmae did not write it; nothing was changed, give another name")


def _is_description(path: Path) -> bool:
    try:
        found = load_json(path)
    except InvalidLabelsError:
        return False
    return isinstance(found, dict) and {"version", "shape", "classes", "class_of"} <= set(found)


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
    InvalidLabelsError
        If it is no picture of labels, or the JSON is damaged or of another picture.
    """
    path = Path(path)
    labels = _decode(path)
    if not classes_file(path).exists():
        return undescribed(labels, labels.dtype.itemsize > 1 if instances is None else instances, mpp, "")
    description = load_json(classes_file(path))
    if not isinstance(description, dict) or description.get("shape") != list(labels.shape):
        raise InvalidLabelsError(f"{classes_file(path).name} beside it is of another picture (its shape is not {labels.shape})")
    has_nuclei = description.get(NUCLEI, True) and nuclei_file(path).exists()
    nuclei = _decode(nuclei_file(path)) if has_nuclei else None
    return restore(description | ({} if mpp is None else {"mpp": mpp}), labels, nuclei=nuclei)


def _decode(path: Path) -> NDArray[np.integer]:
    try:
        values = read_label_pixels(path)
    except InvalidImageError as error:
        raise InvalidLabelsError(str(error)) from None
    return values.astype(np.uint8) if values.dtype == bool else values
