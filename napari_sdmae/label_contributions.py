"""Labels and shapes from and to files through napari's own File > Open and File > Save.

A writer replaces what is there: napari's dialog has asked. Nothing is computed but the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tifffile

from napari_sdmae.io.geojson_features import Shape
from napari_sdmae.io.geojson_reader import OBJECTS, labels_of_shapes, shapes_in_source
from napari_sdmae.io.label_png import classes_file
from napari_sdmae.io.label_tiff import NAMESPACE
from napari_sdmae.io.label_zarr_reader import described_labels
from napari_sdmae.io.labels import export_labels, import_labels
from napari_sdmae.label_layers import labels_layer, layer_label_map
from napari_sdmae.layers import LayerData
from napari_sdmae.shape_layers import shapes_layer, write_shapes

CLASSES = ".classes.json"
Paths = str | list[str]
Reader = Callable[[Paths], list[LayerData]]


def get_geojson_reader(path: Paths) -> Reader | None:
    """Return the reader of GeoJSON when `path` is one file of it, else None."""
    return read_geojson_layers if isinstance(path, str) and path.lower().endswith((".geojson", ".geojson.gz")) else None


def get_labels_reader(path: Paths) -> Reader | None:
    """Return the reader of labels when `path` is an OME-TIFF, OME-Zarr, PNG or its classes JSON that we wrote, else None."""
    return read_labels_layer if isinstance(path, str) and _is_ours(Path(path)) else None


def read_geojson_layers(path: Paths) -> list[LayerData]:
    """Return what a GeoJSON file holds: ours and detections as labels, annotations without holes as shapes.

    A file with holes becomes labels, as shapes of napari have none. Where the file says no µm, pixels are the unit.
    """
    file = Path(path if isinstance(path, str) else path[0])
    contents = shapes_in_source(file)
    ours = contents.description is not None
    outlines = [] if ours else [one for one in contents.shapes if _is_outline(one)]
    others = contents.shapes if ours else [one for one in contents.shapes if not _is_outline(one)]
    about, layers = {"file": str(file)}, []
    if ours or others:
        layers.append(labels_layer(labels_of_shapes(others, contents.description), provenance=about, name=_stem(file)))
    if outlines:
        layers.append(shapes_layer(outlines, _stem(file), about))
    return layers


def read_labels_layer(path: Paths) -> list[LayerData]:
    """Return the labels in a file of ours as a layer with all that was kept."""
    return [_as_labels(_picture(Path(path if isinstance(path, str) else path[0])))]


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer in the format that the end of `path` names; return the files."""
    return _write_labels(path, data, attributes, None)


def write_labels_coco(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as COCO JSON; return the file."""
    return _write_labels(path, data, attributes, "coco")


def write_shapes_geojson(path: str, data: Sequence[Any], attributes: Mapping[str, Any]) -> list[str]:
    """Write the areas of a Shapes layer as annotations of QuPath, and say what is none; return the file."""
    with _heard():
        left_out = write_shapes(data, attributes, Path(path), overwrite=True)
    if left_out:
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        warnings.warn(f"left out, because they are no areas: {found}", stacklevel=2)
    return [path]


def _write_labels(path: str, data: Any, attributes: Mapping[str, Any], format: str | None) -> list[str]:
    with _heard():
        return [str(one) for one in export_labels(layer_label_map(data, attributes), path, format=format, overwrite=True)]


@contextmanager
def _heard() -> Iterator[None]:
    """Raise a ValueError as RuntimeError: napari takes the former for "no such writer" and does not say what is wrong."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError(str(error)) from error


def _as_labels(file: Path) -> LayerData:
    label_map = import_labels(file)
    return labels_layer(label_map, provenance={"file": str(file)}, name=_stem(file))


def _is_outline(shape: Shape) -> bool:
    return shape.kind not in OBJECTS and all(len(polygon) == 1 for polygon in shape.polygons)


def _stem(file: Path) -> str:
    name = file.name
    for end in (".gz", ".geojson", ".tif", ".tiff", ".zarr", ".png", ".ome"):
        name = name.removesuffix(end)
    return name


def _picture(path: Path) -> Path:
    """Return the PNG that a classes JSON belongs to; any other file as it is."""
    name = path.name
    return path.with_name(name.removesuffix(CLASSES) + ".png") if name.endswith(CLASSES) else path


def _is_ours(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(".zarr"):
        return described_labels(path)
    if name.endswith((".png", CLASSES)):
        return _picture(path).exists() and classes_file(_picture(path)).exists()
    return name.endswith((".tif", ".tiff")) and _is_our_tiff(path)


def _is_our_tiff(path: Path) -> bool:
    try:
        with tifffile.TiffFile(path) as file:
            return bool(file.is_ome and NAMESPACE in (file.ome_metadata or ""))
    except (OSError, tifffile.TiffFileError):
        return False
