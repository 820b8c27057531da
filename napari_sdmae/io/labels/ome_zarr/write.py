"""Labels as OME-Zarr 0.5 (NGFF): a ``labels`` group with multiscales in µm, colours and class names; metadata by hand.

A new ``NAME.ome.zarr`` is also a picture by itself: its multiscales name the levels in ``labels/…``, so that programs
which know no labels open it too, and nothing is stored twice. An OME-Zarr picture that is there gets the labels added.

The metadata is written by hand, as ome-zarr-py writes groups that validators reject and pins pydantic down. Translations give
the middle of a level's first pixel, so that all levels begin at the same corner. ome-zarr-models accepts image, labels group
and each label image.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_sdmae.io.atomic import atomic_path, check_free, write_atomically
from napari_sdmae.io.labels.description import KEY, describe
from napari_sdmae.io.labels.ome_zarr.read import read_label_zarr
from napari_sdmae.io.labels.pyramid import level, level_count
from napari_sdmae.io.own_zarr import METADATA
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.objects import check_labels, present, smallest_type

__all__ = ["read_label_zarr", "write_label_zarr"]

VERSION = "0.5"
CHUNK = 1024
NAME = "labels"


def write_label_zarr(label_map: LabelMap, path: Path, *, name: str = NAME, overwrite: bool = False) -> None:
    """Write labels, their measurements, and nuclei as labels of their own, band by band.

    Parameters
    ----------
    label_map
        What to write.
    path
        ``.ome.zarr``, or an OME-Zarr picture of version 0.5, beside which they are put.
    name
        What the labels are called in the ``labels`` group.
    overwrite
        Whether labels of this name, or a file of labels, may be replaced where this program wrote them. A picture is never
        replaced.

    Raises
    ------
    ValueError
        If the labels are none, or the name cannot be a folder's.
    FileExistsError
        If labels of this name are there, or the folder is something else than an OME-Zarr.
    OSError
        If it cannot be written.
    """
    check_labels(label_map)
    if not name or set(name) & set("/\\") or name.startswith("."):
        raise ValueError(f"labels called {name!r}: expected the name of a folder")
    picture = _picture_levels(path) if path.is_dir() and not path.is_symlink() else None
    if picture is not None:
        _put_beside(label_map, path, name, picture, overwrite)
        return
    levels = level_count(label_map.labels.shape)
    with atomic_path(path, overwrite, folder=True) as temporary:
        root = zarr.create_group(temporary, zarr_format=3)
        group = root.create_group("labels")
        parts = _parts(label_map, name)
        for part, values in parts.items():
            _write_levels(group.create_group(part, attributes=_attributes(label_map, part, levels, parts)), values, levels)
        group.attrs["ome"] = {"version": VERSION, "labels": list(parts)}
        multiscales = _multiscales(label_map, name, levels, prefix=f"labels/{name}/")
        root.attrs.update({"ome": {"version": VERSION, "multiscales": multiscales}, KEY: {"labels": list(parts)}})


def _picture_levels(path: Path) -> int | None:
    """Return how many levels the OME-Zarr picture at `path` has; None if it is a file of labels only, which we wrote."""
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        attributes = group.attrs.asdict()
        levels = len(attributes["ome"]["multiscales"][0]["datasets"])
    except Exception:  # zarr raises its own errors for each way of being none
        raise FileExistsError(f"{path} is there and no OME-Zarr {VERSION}: give another name") from None
    return None if KEY in attributes else levels


def _put_beside(label_map: LabelMap, path: Path, name: str, levels: int, overwrite: bool) -> None:
    labels, parts = path / "labels", _parts(label_map, name)
    if there := [part for part in parts if (labels / part).exists() and not overwrite]:
        raise FileExistsError(f"{path} already holds labels {', '.join(there)}: allow overwriting or give another name")
    for part in parts:
        check_free(labels / part, overwrite, folder=True)
    for part, values in parts.items():
        with atomic_path(labels / part, overwrite, folder=True) as temporary:
            attributes = _attributes(label_map, part, levels, parts)
            _write_levels(zarr.create_group(temporary, zarr_format=3, attributes=attributes), values, levels)
    _name_labels(labels / METADATA, list(parts))


def _name_labels(metadata: Path, names: list[str]) -> None:
    """Add `names` to the metadata of a group of labels; by hand, since a picture of others must survive a crash."""
    group: dict[str, Any] = json.loads(metadata.read_bytes()) if metadata.exists() else {"zarr_format": 3, "node_type": "group"}
    attributes = group.setdefault("attributes", {})
    about = attributes.get("ome", {})
    known = about.get("labels", [])
    attributes["ome"] = about | {"version": VERSION, "labels": [*known, *(name for name in names if name not in known)]}
    write_atomically(metadata, json.dumps(group, indent=2).encode())


def _parts(label_map: LabelMap, name: str) -> dict[str, NDArray[np.int32]]:
    """Return what is written: the labels, and the nuclei of cells as labels of their own."""
    return {name: label_map.labels} | ({} if label_map.nuclei is None else {f"{name}-nuclei": label_map.nuclei})


def _attributes(label_map: LabelMap, part: str, levels: int, parts: Collection[str]) -> dict[str, Any]:
    first, *nuclei = parts
    about = describe(label_map, measurements=part == first) | {"nuclei": nuclei[0] if nuclei else None}
    shown = {"multiscales": _multiscales(label_map, part, levels), "image-label": _image_label(label_map)}
    return {"ome": {"version": VERSION} | shown, KEY: about}


def _write_levels(group: zarr.Group, labels: NDArray[np.int32], levels: int) -> None:
    for number in range(levels):
        values = level(labels, number)
        array = group.create_array(
            str(number),
            shape=tuple(max(1, length) for length in values.shape),
            chunks=(CHUNK, CHUNK),
            dtype=smallest_type(labels),
            dimension_names=("y", "x"),
        )
        for top in range(0, values.shape[0], CHUNK):
            array[top : top + CHUNK] = values[top : top + CHUNK]


def _multiscales(label_map: LabelMap, name: str, levels: int, prefix: str = "") -> list[dict[str, Any]]:
    """Return NGFF's multiscales; the translation is where the middle of the first pixel of a level lies."""
    unit, mpp = ({}, 1.0) if label_map.mpp is None else ({"unit": "micrometer"}, label_map.mpp)
    datasets = []
    for number in range(levels):
        step = label_map.step * 2**number
        datasets.append(
            {
                "path": f"{prefix}{number}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [step * mpp] * 2},
                    {"type": "translation", "translation": [(corner + (step - 1) / 2) * mpp for corner in label_map.origin]},
                ],
            }
        )
    axes = [{"name": axis, "type": "space"} | unit for axis in ("y", "x")]
    return [{"name": name, "axes": axes, "datasets": datasets, "type": "nearest"}]


def _image_label(label_map: LabelMap) -> dict[str, Any]:
    """Return colour and class of each label, in NGFF's words."""
    labels = present(label_map.labels)
    if not label_map.instances:
        labels = sorted({*labels, *(one.value for one in label_map.classes if one.value > 0)})
    known = {label: label_map.class_at(label) for label in labels}
    return {
        "colors": [{"label-value": label, "rgba": [*one.colour, 255]} for label, one in known.items()],
        "properties": [{"label-value": label, "class": one.name} for label, one in known.items()],
        "source": {"image": "../../"},
    }
