"""napari's File > Open: runs, labels and shapes from files, and from folders by a command; nothing is computed.

No reader takes folders: napari offers those that do for every folder of pictures, without asking them.
A reader takes all files that it is offered for, or says what is wrong with them.

A pattern that files of other programs fit as well (``*label*.ome.tif``: "label-free.ome.tif") does the same to files, so
patterns are ends of names that only labels have. Runs open by their ``status.json``; folders by *File > IO Utilities > Open
folder of labels, OME-Zarr or run…* or by a drop on a dock.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_sdmae.io.labels.geojson.features import Shape
from napari_sdmae.io.labels.geojson.read import OBJECTS, labels_of_shapes, shapes_in_source
from napari_sdmae.io.labels.registry import FORMATS, InvalidLabelsError, import_labels
from napari_sdmae.layers.base import LayerData
from napari_sdmae.layers.labels import labels_layer
from napari_sdmae.layers.previews import preview_layers
from napari_sdmae.layers.shapes import shapes_layer
from napari_sdmae.runs.folder import RunFolder

Paths = str | list[str]
STATUS = "status.json"


def get_run_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the reader of runs when `path` is a status.json, or the folder of a run with previews, else None.

    Whatever is wrong with a status.json the reader says: napari would only tell that nobody could read it.
    """
    first = path if isinstance(path, str) else path[0]
    ours = Path(first).name == STATUS or latest_preview(run_of(first)) is not None
    return read_run if ours else None


def read_run(path: Paths) -> list[LayerData]:
    """Return the latest previews of each run at `path` (a status.json or a run folder): input, masked, reconstruction, error.

    Raises
    ------
    ValueError
        If it is no run, or one without previews.
    """
    return [layer for one in ([path] if isinstance(path, str) else path) for layer in _previews_of(run_of(one), one)]


def _previews_of(run: RunFolder, path: str) -> list[LayerData]:
    if not run.exists():
        raise ValueError(f"{path}: not a run of SD-MAE (no config.yaml beside it). Open the status.json of a run folder.")
    preview = latest_preview(run)
    if preview is None:
        raise ValueError(f"{run.path.name} has no previews yet. Watch it in the dock widget Pre-train or Fine-tune, page Runs.")
    return preview_layers(run.path, preview)


def run_of(path: str | Path) -> RunFolder:
    """Return the run folder that `path`, the folder itself or its status.json, belongs to."""
    place = Path(path)
    return RunFolder(place.parent if place.name == STATUS else place)


def latest_preview(run: RunFolder) -> Path | None:
    """Return the newest preview file of `run`; None when this is no run, or a run without previews."""
    previews = run.previews() if run.exists() else []
    return previews[-1] if previews else None


CLASSES = ".classes.json"
GEOJSON = (".geojson", ".geojson.gz")
LABELS = (CLASSES, "labels.ome.tif", "labels.ome.tiff")
"""Ends of names that nothing but labels has; napari.yaml offers the readers for the same."""
READABLE = tuple(sorted({suffix for one in FORMATS.values() if one.keeps for suffix in one.suffixes} | {CLASSES}))
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
    InvalidLabelsError
        If there are none, or one of them is damaged.
    """
    files = labels_at(folder)
    if not files:
        raise InvalidLabelsError(
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
    except InvalidLabelsError as error:
        raise InvalidLabelsError(f"{file}: {error}") from None
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
    return path.with_name(name[: -len(CLASSES)] + ".png") if name.lower().endswith(CLASSES) else path


def _files(path: Paths) -> list[Path]:
    return [Path(one) for one in ([path] if isinstance(path, str) else path)]


def _named(path: Paths, ends: tuple[str, ...]) -> bool:
    return all(file.name.lower().endswith(ends) for file in _files(path))
