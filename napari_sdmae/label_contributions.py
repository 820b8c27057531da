"""Labels and shapes from and to files through napari's own File > Open and File > Save, and from folders by a command.

No reader takes folders: napari offers those that do for every folder of pictures, without asking them (docs/decisions/0065).
A reader takes all files that it is offered for, or says what is wrong with them. A writer replaces what is there: napari's
dialog has asked. Nothing is computed but the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_sdmae.io.labels.geojson.features import Shape
from napari_sdmae.io.labels.geojson.read import OBJECTS, labels_of_shapes, shapes_in_source
from napari_sdmae.io.labels.registry import FORMATS, UnusableLabels, export_labels, import_labels
from napari_sdmae.label_layers import labels_layer, layer_label_map
from napari_sdmae.layers import LayerData
from napari_sdmae.shape_layers import shapes_layer, write_shapes

CLASSES = ".classes.json"
GEOJSON = (".geojson", ".geojson.gz")
LABELS = (CLASSES, "labels.ome.tif", "labels.ome.tiff")
"""Ends of names that nothing but labels has; napari.yaml offers the readers for the same."""
READABLE = tuple(sorted({suffix for one in FORMATS.values() if one.keeps for suffix in one.suffixes} | {CLASSES}))
Paths = str | list[str]
Reader = Callable[[Paths], list[LayerData]]


def get_geojson_reader(path: Paths) -> Reader | None:
    """Return the reader of GeoJSON when `path` is GeoJSON by its name, else None."""
    return read_geojson_layers if _named(path, GEOJSON) else None


def get_labels_reader(path: Paths) -> Reader | None:
    """Return the reader of labels when `path` is called as labels are: ``….classes.json``, ``…labels.ome.tif``; else None."""
    return read_labels_layers if _named(path, LABELS) else None


def read_folder(folder: Path) -> list[LayerData]:
    """Return the labels in a folder: an OME-Zarr (or a part of one), or all files of labels that lie in it.

    Raises
    ------
    UnusableLabels
        If there are none, or one of them is damaged.
    """
    files = labels_at(folder)
    if not files:
        raise UnusableLabels(
            f"{folder}: no labels in this folder. Expected an OME-Zarr, or files called *.geojson, *labels.ome.tif or "
            "*.classes.json (with their PNG)."
        )
    return [layer for file in files for layer in _layers_in(file)]


def labels_at(path: Path) -> list[Path]:
    """Return the files of labels that `path` is or, being a folder, holds: an OME-Zarr is one, as is a part of it."""
    zarr = next((one for one in (path, *path.parents) if one.name.lower().endswith(".zarr")), None)
    if zarr is not None:
        return [zarr]
    if not path.is_dir():
        return [_picture(path)] if _named(str(path), READABLE) else []
    named = [one for one in path.iterdir() if _named(str(one), (".zarr", *GEOJSON, *LABELS))]
    return sorted(_picture(one) for one in named if not one.name.startswith("."))


def _layers_in(file: Path) -> list[LayerData]:
    return _geojson_layers(file) if _named(str(file), GEOJSON) else [_as_labels(file)]


def read_geojson_layers(path: Paths) -> list[LayerData]:
    """Return what a GeoJSON file holds: ours and detections as labels, annotations without holes as shapes.

    A file with holes becomes labels, as shapes of napari have none. Where the file says no µm, pixels are the unit.
    """
    return [layer for file in _files(path) for layer in _geojson_layers(file)]


def _geojson_layers(file: Path) -> list[LayerData]:
    try:
        contents = shapes_in_source(file)
    except UnusableLabels as error:
        raise UnusableLabels(f"{file}: {error}") from None
    ours = contents.description is not None
    outlines = [] if ours else [one for one in contents.shapes if _is_outline(one)]
    others = contents.shapes if ours else [one for one in contents.shapes if not _is_outline(one)]
    about, layers = {"file": str(file)}, []
    if ours or others:
        layers.append(labels_layer(labels_of_shapes(others, contents.description), provenance=about, name=_stem(file)))
    if outlines:
        layers.append(shapes_layer(outlines, _stem(file), about))
    return layers


def read_labels_layers(path: Paths) -> list[LayerData]:
    """Return the labels in each file as a layer with all that was kept, also of other programs' files."""
    return [_as_labels(_picture(file)) for file in _files(path)]


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


def _files(path: Paths) -> list[Path]:
    return [Path(one) for one in ([path] if isinstance(path, str) else path)]


def _named(path: Paths, ends: tuple[str, ...]) -> bool:
    return all(file.name.lower().endswith(ends) for file in _files(path))
