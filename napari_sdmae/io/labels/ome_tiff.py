"""Labels as OME-TIFF: a tiled pyramid with physical size, and our description in a MapAnnotation of the OME-XML.

Levels are picked, never averaged, and picked from the middle of each square of 2ᵏ pixels: the first pixel would shift level
*k* by almost half of its pixel. Nuclei of cells are a second image. Measurements are left out, since a table of 50,000 rows in
a header slows every reader. Of other programs' files 8 bits are classes and more are objects, unless ``--instances`` or
``--no-instances`` is given. tifffile, Pillow and OpenSlide read the same values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sdmae.io.atomic import atomic_path
from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.io.images.scale import tiff_mpp
from napari_sdmae.io.images.tiff_claims import opened
from napari_sdmae.io.labels.description import KEY, content_id, describe, restore, undescribed
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.pixels import plane_of, read_label_pixels
from napari_sdmae.io.labels.pyramid import level, level_count, tiles
from napari_sdmae.io.memory import TooLargeError
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.objects import check_labels, smallest_type
from napari_sdmae.text.documents import parse_json

NAMESPACE = "napari-sdmae/labels"
TILE = 512
BIG = 2**31
"""Bytes of pixels from which BigTIFF is written; before that, every reader can open the file."""


def write_label_tiff(label_map: LabelMap, path: Path, *, overwrite: bool = False) -> None:
    """Write labels, and nuclei as a second image, tile by tile.

    Parameters
    ----------
    label_map
        What to write. Measurements are not kept: write a CSV beside it.
    path
        ``.ome.tif``.
    overwrite
        Whether a file that is there may be replaced.

    Raises
    ------
    ValueError
        If the labels are none.
    FileExistsError, OSError
        If the file is there, or cannot be written.
    """
    check_labels(label_map)
    kind = smallest_type(label_map.labels)
    images = {"labels": label_map.labels} | ({} if label_map.nuclei is None else {"nuclei": label_map.nuclei})
    annotation = {"Namespace": NAMESPACE, KEY: json.dumps(describe(label_map))}
    size = sum(image.size for image in images.values()) * kind.itemsize
    with atomic_path(path, overwrite) as temporary, tifffile.TiffWriter(temporary, ome=True, bigtiff=size > BIG) as file:
        for name, image in images.items():
            about = {"axes": "YX", "Name": name, "UUID": f"urn:uuid:{content_id(label_map, 'ome-tiff')}"} | _scale(label_map)
            _write_levels(file, image, kind, about | ({"MapAnnotation": annotation} if name == "labels" else {}))


def _scale(label_map: LabelMap) -> dict[str, Any]:
    """Return physical size of a pixel and position of the middle of the first, in µm."""
    if label_map.label_mpp is None or label_map.mpp is None:
        return {}
    row, column = ((corner + (label_map.step - 1) / 2) * label_map.mpp for corner in label_map.origin)
    return {
        "PhysicalSizeX": label_map.label_mpp,
        "PhysicalSizeY": label_map.label_mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
        "Plane": {"PositionX": [column], "PositionXUnit": ["µm"], "PositionY": [row], "PositionYUnit": ["µm"]},
    }


def _write_levels(
    file: tifffile.TiffWriter, labels: NDArray[np.int32], kind: np.dtype[np.unsignedinteger], about: Mapping[str, Any]
) -> None:
    levels = [level(labels, number) for number in range(level_count(labels.shape))]
    for number, values in enumerate(levels):
        first = {"subifds": len(levels) - 1, "metadata": dict(about)} if number == 0 else {"subfiletype": 1}
        file.write(
            tiles(values, TILE, kind),
            shape=values.shape,
            dtype=kind,
            tile=(TILE, TILE),
            compression="zlib",
            photometric="minisblack",
            **first,
        )


def read_label_tiff(path: Path | str, *, mpp: float | None = None, instances: bool | None = None) -> LabelMap:
    """Read labels from a TIFF: ours with all that it keeps, another with what its header says.

    Parameters
    ----------
    path
        A TIFF of one channel of whole numbers; of a pyramid the largest level is read.
    mpp
        µm per full-resolution pixel; None: as the file says.
    instances
        Of other programs' files: whether each value is one object. None: no for 8 bits, else yes.

    Raises
    ------
    InvalidLabelsError
        If the file is no TIFF, damaged, or no picture of labels.
    """
    try:
        with opened(path) as file:
            description, stated = our_description(file), tiff_mpp(file)
            if description is None:
                labels, nuclei = read_label_pixels(Path(path)), None
            else:
                labels = plane_of(file.series[0].levels[0])
                beside = [series for series in file.series[1:2] if series.name == "nuclei"]
                nuclei = plane_of(beside[0].levels[0]) if beside else None
    except InvalidLabelsError:
        raise
    except (InvalidImageError, TooLargeError) as error:
        raise InvalidLabelsError(str(error)) from None
    except FileNotFoundError:
        raise InvalidLabelsError("there is no such file") from None
    except Exception as error:  # decoders raise nearly every exception there is
        raise InvalidLabelsError(f"no TIFF, damaged or cut short ({type(error).__name__}: {error})") from error
    if description is not None:
        return restore(description | ({} if mpp is None else {"mpp": mpp}), labels, nuclei=nuclei)
    separate = labels.dtype.itemsize > 1 if instances is None else instances
    return undescribed(labels, separate, mpp if mpp is not None else stated, "")


def our_description(file: tifffile.TiffFile) -> dict[str, Any] | None:
    """Return the description that we wrote into a TIFF; None if it is not ours.

    Raises
    ------
    InvalidLabelsError
        If it is damaged.
    """
    if not file.is_ome or not file.ome_metadata or NAMESPACE not in file.ome_metadata:
        return None
    try:
        for annotation in ElementTree.fromstring(file.ome_metadata).iterfind(".//{*}MapAnnotation"):
            if annotation.get("Namespace") == NAMESPACE:
                found = next(item for item in annotation.iterfind(".//{*}M") if item.get("K") == KEY)
                return dict(parse_json(found.text or ""))
    except (StopIteration, ElementTree.ParseError, ValueError) as error:
        raise InvalidLabelsError(f"the description of its labels is damaged ({error})") from None
    return None
