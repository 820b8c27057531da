"""Pictures with labels as a folder that fine-tuning reads: images, masks or labels, classes.json and table.csv; boxes as COCO.

What is painted in a viewer is written so before it is learned, so that the very same command trains on it anywhere. No torch.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.data.labelled.labelled_set import Box
from napari_sdmae.humanize import different, slug
from napari_sdmae.io.atomic import atomic_path
from napari_sdmae.io.images.scale import resolution_tags
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.text.tables import table_bytes

Row = dict[str, str]
CLASSES, TABLE = "classes.json", "table.csv"
COLUMNS = ("file", "mask", "types", "slide", "mpp")


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture and what a person says is in it.

    Attributes
    ----------
    name
        What the file is called; letters no system takes are replaced.
    image
        uint8 (H, W, 3).
    labels
        Integers (H, W), 0 where nothing is painted; of segmentation class values, of instances object numbers.
    class_of
        Of instances with types: class value of each object number.
    boxes
        Of detection: left, upper, right, lower edge in px, class value.
    slide
        What the picture was taken from: pictures of one slide are never both trained on and tested on.
    mpp
        µm per pixel; None if unknown.
    """

    name: str
    image: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]] | None = None
    class_of: Mapping[int, int] = field(default_factory=dict)
    boxes: Sequence[Box] = ()
    slide: str = ""
    mpp: float | None = None


def free_value(used: Iterable[int], wanted: int = 255) -> int:
    """Return a value for "not learned" that is not `used` as a class: `wanted`, else the highest that is free."""
    taken = set(used)
    return next(int(value) for value in (wanted, *range(65535, 0, -1)) if value not in taken)


def write_labelled_folder(
    pictures: Sequence[LabelledPicture],
    folder: Path,
    classes: Sequence[LabelClass],
    *,
    task: Literal["segmentation", "instances"] = "segmentation",
    unpainted: int | None = 255,
) -> Path:
    """Write painted `pictures` into the new `folder`; return it.

    Layout: ``images/NAME.tif``, ``masks/NAME.png`` (segmentation) or ``labels/NAME.png`` and, where objects have classes,
    ``types/NAME.png`` (instances), ``classes.json``, and ``table.csv`` with file, mask, types, slide and µm per pixel.

    Parameters
    ----------
    pictures
        With labels of the size of the image.
    folder
        Must not exist, or be empty: nothing is overwritten.
    classes
        The classes of the values that occur.
    unpainted
        Of segmentation: value written where nothing is painted, so that it is not learned; None keeps 0, then a class.

    Raises
    ------
    ValueError
        If there is no picture, nothing is painted in one, labels and image differ in size, or `unpainted` is a class.
    FileExistsError
        If the folder is not empty.
    """
    _check_any(pictures)
    for picture in pictures:
        check_picture(picture, classes, task, unpainted)
    with atomic_path(folder, folder=True) as temporary:
        write_labelled_files(pictures, temporary, classes, task=task, unpainted=unpainted)
    return folder


def write_labelled_files(
    pictures: Sequence[LabelledPicture],
    folder: Path,
    classes: Sequence[LabelClass],
    *,
    task: Literal["segmentation", "instances"],
    unpainted: int | None,
) -> list[Row]:
    """Write the files of :func:`write_labelled_folder` into a `folder` that nobody reads yet; return the rows of the table."""
    kind = "masks" if task == "segmentation" else "labels"
    rows = []
    for name, picture in zip(_names(pictures), pictures, strict=True):
        row = _row(name, picture, folder)
        labels = np.asarray(picture.labels)
        masked = np.where(labels == 0, unpainted, labels) if task == "segmentation" and unpainted is not None else labels
        row["mask"] = _write_values(masked, folder / kind / name, folder)
        if task == "instances" and picture.class_of:
            row["types"] = _write_values(_types(labels, picture.class_of), folder / "types" / name, folder)
        rows.append({column: row[column] for column in COLUMNS if column in row})
    (folder / TABLE).write_bytes(rows_bytes(rows))
    named = {"classes": [one.model_dump(mode="json") for one in sorted(classes, key=lambda one: one.value)]}
    (folder / CLASSES).write_bytes(json.dumps(named, indent=1, ensure_ascii=False).encode())
    return rows


def write_coco_boxes(pictures: Sequence[LabelledPicture], folder: Path, classes: Sequence[LabelClass]) -> Path:
    """Write `pictures` with boxes into the new `folder` and return its COCO file, ``annotations.json``; see cocodataset.org.

    Boxes are cut at the picture's edge; one that lies outside is left out. A picture without boxes is kept: it teaches what is
    no object. `folder` and errors as in :func:`write_labelled_folder`.
    """
    _check_any(pictures)
    path = folder / "annotations.json"
    with atomic_path(folder, folder=True) as temporary:
        content = _with_boxes(pictures, temporary, classes)
        (temporary / path.name).write_bytes(json.dumps(content, indent=1, ensure_ascii=False).encode())
    return path


def _with_boxes(pictures: Sequence[LabelledPicture], folder: Path, classes: Sequence[LabelClass]) -> dict[str, Any]:
    """Write the images into `folder`; return the COCO file's content."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, picture) in enumerate(zip(_names(pictures), pictures, strict=True), 1):
        row = _row(name, picture, folder)
        height, width = picture.image.shape[:2]
        extra = {"slide": row["slide"]} | ({"mpp": picture.mpp} if picture.mpp else {})
        images.append({"id": number, "file_name": row["file"], "height": height, "width": width} | extra)
        for left, upper, right, lower, value in picture.boxes:
            x0, y0, x1, y1 = max(left, 0.0), max(upper, 0.0), min(right, float(width)), min(lower, float(height))
            if x1 > x0 and y1 > y0:
                place = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
                annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": value} | place)
    categories = [{"id": one.value, "name": one.name, "colour": list(one.colour)} for one in classes]
    return {"images": images, "annotations": annotations, "categories": categories}


def check_picture(picture: LabelledPicture, classes: Sequence[LabelClass], task: str, unpainted: int | None) -> None:
    """Raise ValueError if nothing is painted, labels and image differ in size, or `unpainted` is a class."""
    if picture.labels is None or picture.labels.shape != picture.image.shape[:2]:
        shape = None if picture.labels is None else picture.labels.shape
        raise ValueError(f"{picture.name}: labels of shape {shape} for an image of {picture.image.shape[:2]}; expected the same")
    if not np.any(picture.labels):
        raise ValueError(f"{picture.name}: nothing is painted in it; paint, or leave it out")
    if task == "segmentation" and unpainted in {one.value for one in classes}:
        raise ValueError(f"value {unpainted} means not painted and is a class as well; choose another for one of them")


def _check_any(pictures: Sequence[LabelledPicture]) -> None:
    if not pictures:
        raise ValueError("no labelled pictures were given: select image layers with their labels")


def _names(pictures: Sequence[LabelledPicture]) -> list[str]:
    """Return one file name per picture, made of letters every system takes, each different."""
    return different(slug(picture.name, "picture") for picture in pictures)


def _row(name: str, picture: LabelledPicture, folder: Path) -> dict[str, str]:
    path = folder / "images" / f"{name}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    mpp = picture.mpp
    tifffile.imwrite(path, picture.image, photometric="rgb", compression="zlib", **resolution_tags(mpp))
    return {"file": f"images/{path.name}", "slide": picture.slide or picture.name, "mpp": "" if mpp is None else f"{mpp:.6g}"}


def _types(labels: NDArray[np.integer[Any]], class_of: Mapping[int, int]) -> NDArray[np.int64]:
    lookup = np.zeros(int(labels.max()) + 1, np.int64)
    for number, value in class_of.items():
        if 0 < number < len(lookup):
            lookup[number] = value
    types: NDArray[np.int64] = lookup[labels]
    return types


def _write_values(values: NDArray[np.integer[Any]], stem: Path, folder: Path) -> str:
    """Write values as a PNG of 8 or 16 bits, or as a TIFF of 32 where there are more; return its name from `folder`."""
    stem.parent.mkdir(exist_ok=True)
    if values.max() > 65535:
        path = stem.with_name(f"{stem.name}.tif")
        tifffile.imwrite(path, values.astype(np.uint32), compression="zlib")
    else:
        path = stem.with_name(f"{stem.name}.png")
        buffer = io.BytesIO()  # Pillow's own files tell no reason when a disk is full
        Image.fromarray(values.astype(np.uint8 if values.max() < 256 else np.uint16)).save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
    return path.relative_to(folder).as_posix()


def rows_bytes(rows: Sequence[Row]) -> bytes:
    """Return rows as a table with all their columns, as CSV."""
    return table_bytes(pd.DataFrame(rows, dtype=object))
