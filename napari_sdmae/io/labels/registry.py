"""Labels to and from files of all formats: the one function behind File > Save, the Segment widget and ``sdmae export``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_sdmae.io.atomic import check_free
from napari_sdmae.io.labels.coco.read import coco_pictures, is_coco
from napari_sdmae.io.labels.coco.write import read_coco, write_coco
from napari_sdmae.io.labels.csv import write_label_table
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.geojson.features import load_json
from napari_sdmae.io.labels.geojson.write import ObjectType, read_geojson, write_geojson
from napari_sdmae.io.labels.ome_tiff import read_label_tiff, write_label_tiff
from napari_sdmae.io.labels.ome_zarr.write import read_label_zarr, write_label_zarr
from napari_sdmae.io.labels.pixels import LABEL_SUFFIXES
from napari_sdmae.io.labels.png import classes_file, nuclei_file, read_label_png, write_label_png
from napari_sdmae.io.labels.slide_bounds import Bounds
from napari_sdmae.io.regular_files import ENDLESS, is_endless
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.moved import renamed

__all__ = [
    "FORMATS",
    "Format",
    "InvalidLabelsError",
    "ObjectType",
    "check_target",
    "export_labels",
    "format_of",
    "import_labels",
    "pictures_in",
    "written_files",
]


@dataclass(frozen=True)
class Format:
    """One file format of labels.

    Attributes
    ----------
    title
        What people read in a list.
    suffixes
        Ends of file names, the usual one first.
    write
        Called with label map, path and ``overwrite``.
    keeps
        What comes back from such a file beside the labels, in words; empty if it cannot be read.
    options
        Further arguments of ``write``.
    """

    title: str
    suffixes: tuple[str, ...]
    write: Callable[..., Any]
    keeps: str
    options: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "geojson": Format(
        "GeoJSON for QuPath",
        (".geojson", ".geojson.gz"),
        write_geojson,
        "classes, colours, scale, place, measurements, nuclei",
        ("object_type", "bounds"),
    ),
    "ome-tiff": Format(
        "OME-TIFF pyramid", (".ome.tif", ".ome.tiff", ".tif", ".tiff"), write_label_tiff, "classes, colours, scale, place, nuclei"
    ),
    "ome-zarr": Format(
        "OME-Zarr labels", (".ome.zarr", ".zarr"), write_label_zarr, "classes, colours, scale, place, measurements, nuclei"
    ),
    "png": Format("PNG and classes JSON", (".png",), write_label_png, "classes, colours, scale, place, measurements, nuclei"),
    "coco": Format("COCO JSON, exact run lengths", (".json",), write_coco, "classes, colours, scale, place"),
    "coco-polygons": Format(
        "COCO JSON, polygons", (".json",), partial(write_coco, segmentation="polygon"), "classes, colours, scale, place"
    ),
    "csv": Format("Table of measurements (CSV)", (".csv",), write_label_table, ""),
}
"""Formats by the names that ``export_labels`` and ``sdmae export --format`` take. Of one suffix the first format is meant."""


def export_labels(
    label_map: LabelMap,
    path: Path | str,
    *,
    format: str | None = None,
    object_type: ObjectType | None = None,
    bounds: Bounds = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write labels to a file; return what was written.

    Parameters
    ----------
    label_map
        What to write.
    path
        The file (a folder for OME-Zarr).
    format
        One of `FORMATS`; None: by the end of `path`.
    object_type, bounds
        Of GeoJSON only, see :func:`~napari_sdmae.io.labels.geojson.write.write_geojson`.
    overwrite
        Whether what is there may be replaced.

    Raises
    ------
    ValueError
        If the format is unknown, cannot hold these labels, or has no such option.
    InvalidLabelsError
        If the bounds cannot be read from the slide.
    FileExistsError
        If something is there and may not be replaced.
    OSError
        If it cannot be written; what was there before is then still there.
    """
    path = Path(path)
    chosen = FORMATS[format_of(path, format)]
    given = {name: value for name, value in {"object_type": object_type, "bounds": bounds}.items() if value is not None}
    if useless := [name.replace("_", " ") for name in given if name not in chosen.options]:
        raise ValueError(f"{' and '.join(useless)} given for {chosen.title}: it is for GeoJSON only")
    chosen.write(label_map, path, overwrite=overwrite, **given)
    return written_files(label_map, path, format)


def check_target(path: Path, format: str | None = None) -> None:
    """Raise `FileExistsError` if labels can never be written to `path`, whether or not it may be overwritten.

    An OME-Zarr folder is looked at when it is written: labels are put beside a picture that is there.
    """
    if format_of(path, format) != "ome-zarr":
        check_free(path, overwrite=True)
    elif path.is_symlink() or not path.is_dir():
        check_free(path, overwrite=True, folder=True)


def written_files(label_map: LabelMap, path: Path, format: str | None = None) -> list[Path]:
    """Return the files that :func:`export_labels` writes for `path`."""
    if format_of(path, format) != "png":
        return [path]
    return [path, classes_file(path)] + ([] if label_map.nuclei is None else [nuclei_file(path)])


def format_of(path: Path | str, format: str | None = None) -> str:
    """Return the name of the format of `path`: `format` if given, else by its end.

    Raises
    ------
    ValueError
        If there is no such format, or none for this end.
    """
    if format is not None:
        if format not in FORMATS:
            raise ValueError(f"format {format!r}: expected one of {', '.join(FORMATS)}")
        return format
    name = Path(path).name.lower()
    ends = [(len(suffix), known) for known, one in FORMATS.items() for suffix in one.suffixes if name.endswith(suffix)]
    if not ends:
        usual = ", ".join(dict.fromkeys(one.suffixes[0] for one in FORMATS.values()))
        raise ValueError(f"{Path(path).name}: its end names no format; expected one of {usual}, or say the format")
    return max(ends, key=lambda end: end[0])[1]


def import_labels(
    path: Path | str,
    *,
    shape: tuple[int, int] | None = None,
    mpp: float | None = None,
    like: LabelMap | None = None,
    step: float | None = None,
    bounds: Bounds = None,
    instances: bool | None = None,
    image: str | None = None,
) -> LabelMap:
    """Read labels from a file of any format but CSV.

    Parameters
    ----------
    path
        The file or OME-Zarr folder.
    shape, step, bounds
        Of GeoJSON: (rows, columns) of the labels, full-resolution px per label pixel, slide whose bounds are added.
    mpp
        µm per full-resolution pixel, where the file does not say it or says it wrongly.
    like
        Labels of the same picture, whose scale and place are taken.
    instances
        Of other programs' files: whether each value is one object.
    image
        Of COCO: file name of the picture whose labels are read, where there are several.

    Raises
    ------
    InvalidLabelsError
        If there is no such file or it holds no labels; the message begins with the file.
    ValueError
        If the format is unknown or cannot be read back.
    """
    path = Path(path)
    kind = format_read(path)
    if not FORMATS[kind].keeps:
        raise ValueError(f"{path.name}: a table holds no labels; read one of the other formats")
    try:
        return _read(path, kind, shape=shape, mpp=mpp, like=like, step=step, bounds=bounds, instances=instances, image=image)
    except InvalidLabelsError as error:
        raise InvalidLabelsError(f"{path}: {error}") from None


def pictures_in(path: Path | str) -> list[str]:
    """Return the file names of the pictures whose labels a file holds, where it tells them (COCO); else nothing.

    Raises
    ------
    InvalidLabelsError
        If there is no such file, or it is damaged.
    """
    path = Path(path)
    try:
        return coco_pictures(path) if format_read(path) == "coco" else []
    except InvalidLabelsError as error:
        raise InvalidLabelsError(f"{path}: {error}") from None


def format_read(path: Path) -> str:
    """Return the name of the format that `path` is read as; pictures that are only read count as PNG.

    Raises
    ------
    ValueError
        If there is none for this end.
    InvalidLabelsError
        If it is a pipe or a device, which would be waited for.
    """
    if is_endless(path):
        raise InvalidLabelsError(ENDLESS)
    return "png" if path.suffix.lower() in LABEL_SUFFIXES - {".tif", ".tiff"} else format_of(path)


def _read(
    path: Path, kind: str, *, mpp: float | None, like: LabelMap | None, instances: bool | None, image: str | None, **drawn: Any
) -> LabelMap:
    if image is not None and kind != "coco":
        raise ValueError(f"picture {image} given for {path.name}: only COCO files hold labels of several")
    if kind == "geojson" or (kind == "coco" and not is_coco(load_json(path))):
        return read_geojson(path, mpp=mpp, like=like, instances=instances, **drawn)
    if given := [name for name, value in drawn.items() if value is not None]:
        raise ValueError(f"{' and '.join(given)} given for {path.name}: only GeoJSON, which holds outlines, is drawn")
    if kind == "coco":
        return read_coco(path, image=image, mpp=mpp, like=like)
    readers = {"ome-tiff": read_label_tiff, "ome-zarr": read_label_zarr, "png": read_label_png}
    return _like(readers[kind](path, mpp=mpp, instances=instances), mpp, like)


def _like(label_map: LabelMap, mpp: float | None, like: LabelMap | None) -> LabelMap:
    """Return labels with the place of `like`, where they are of the same shape."""
    if like is None:
        return label_map
    if like.labels.shape != label_map.labels.shape:
        raise InvalidLabelsError(f"labels of shape {label_map.labels.shape}; those they should lie on have {like.labels.shape}")
    scale = like.mpp if mpp is None else mpp
    return replace(label_map, mpp=scale, origin=like.origin, step=like.step, source=like.source)


__getattr__ = renamed(__name__, UnusableLabels="InvalidLabelsError")
