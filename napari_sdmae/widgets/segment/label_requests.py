"""What is requested about the labels of a layer: measuring, writing, corrections. Pure functions that return requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Labels

from napari_sdmae.humanize import slug
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.serialization import classes_in, plugin_metadata
from napari_sdmae.layers.base import Field, Source
from napari_sdmae.layers.labels import layer_label_map
from napari_sdmae.widgets.canvas.edit_labels import plane_of
from napari_sdmae.widgets.canvas.layer_region import Box, ImageRegion, RegionError, read_region
from napari_sdmae.widgets.segment.export_form import ExportOptions
from napari_sdmae.worker.protocol import ExportRequest, MeasureRequest, SaveCorrectionsRequest


def snapshot(layer: Labels) -> Callable[[], LabelMap]:
    """Return what makes the label map that `layer` shows now: a copy of its labels, as a person may paint on.

    The rest is left for the thread of the worker: of fifty thousand objects it takes a while.
    """
    kept = ("metadata", "features", "name", "scale", "translate", "units", "colormap")
    attributes = {name: getattr(layer, name) for name in kept}
    return partial(layer_label_map, plane_of(layer).copy(), attributes)


def label_map_of(layer: Labels) -> LabelMap:
    """Return the label map that `layer` shows; see :func:`snapshot`."""
    return snapshot(layer)()


def edges(label_map: LabelMap) -> Box:
    """Return top, left, bottom, right of labels in full-resolution pixels of their source, pixel centres at integers."""
    (row, column), (height, width) = label_map.origin, label_map.labels.shape
    return row - 0.5, column - 0.5, row + height * label_map.step - 0.5, column + width * label_map.step - 0.5


def pixels_under(label_map: LabelMap, image: Any, point: Sequence[float]) -> ImageRegion:
    """Return the part of the `image` layer that lies under labels, at the pyramid level nearest to their resolution.

    Raises
    ------
    RegionError
        If the labels lie outside of the picture, or are not of its size.
    """
    mpp = Source.of(image).mpp
    taken = read_region(image, point, edges(label_map), mpp * label_map.step if mpp else None)
    covered = tuple(round(edge * taken.field.step / label_map.step) for edge in taken.field.size)
    if any(abs(got - edge) > 1 for got, edge in zip(covered, label_map.labels.shape, strict=True)):
        raise RegionError(f"The labels reach beyond “{image.name}”. Choose the image above to which they belong.")
    return taken


def place_in(label_map: LabelMap, image: Any, point: Sequence[float]) -> Field:
    """Return where labels of the whole source lie in the `image` layer.

    Raises
    ------
    RegionError
        If they lie outside of the picture.
    """
    taken = read_region(image, point, edges(label_map), None)
    (row, column), (height, width) = label_map.origin, label_map.labels.shape
    origin = (round(row), round(column))
    source, edge = taken.field.source, taken.picture.shapes[0][1]
    return Field(source, origin, (height, width), label_map.step, taken.field.index, edge)


def measure_request(label_map: LabelMap, taken: ImageRegion | None) -> MeasureRequest:
    """Return the request that measures labels again; without a picture the stains are left out."""
    return MeasureRequest(label_map, None if taken is None else taken.pixels)


def export_request(
    labels: Callable[[], LabelMap], path: Path, options: ExportOptions, *, overwrite: bool = False
) -> ExportRequest:
    """Return the request that writes the labels of a :func:`snapshot` to `path`."""
    return ExportRequest(labels(), path, overwrite=overwrite, **options)


def corrections_request(
    label_map: LabelMap, taken: ImageRegion, metadata: Mapping[str, Any], folder: Path, replace: bool
) -> SaveCorrectionsRequest:
    """Return the request that writes a picture and its corrected labels as training data.

    Raises
    ------
    RegionError
        If the picture cannot be read at the resolution of the labels.
    """
    if taken.field.size != label_map.labels.shape:
        raise RegionError("The labels are coarser than the picture. Segment a smaller region, and correct that.")
    return SaveCorrectionsRequest(
        label_map=label_map,
        image=taken.pixels,
        folder=folder,
        name=correction_name(label_map, taken.layer.name),
        classes=classes_in({"classes": metadata.get("head_classes", ())}) or label_map.classes,
        head=metadata.get("head"),
        replace=replace,
    )


def correction_name(label_map: LabelMap, layer_name: str) -> str:
    """Return what a corrected picture is called: its source, and where in it the labels begin."""
    stem = Path(label_map.source).stem if label_map.source else layer_name
    row, column = (round(at) for at in label_map.origin)
    height, width = label_map.labels.shape
    return f"{slug(stem, 'picture')}-r{row}-c{column}-{height}x{width}"


def source_file(layer: Labels) -> str:
    """Return the file of the picture to which the labels of `layer` belong, or an empty text where it has none."""
    source = str(plugin_metadata(layer).get("source", ""))
    return source if source and Path(source).is_file() else ""


def suggested_file(file: str, layer_name: str, results: Path) -> Path:
    """Return where labels are offered to be written, without suffix: beside the picture's `file`, else among the `results`."""
    if file:
        return Path(file).with_name(f"{Path(file).stem}-labels")
    return results / slug(layer_name, "labels")


def corrections_folder(file: str, instances: bool, results: Path) -> Path:
    """Return where corrections go: beside the file of the picture, or to the folder of `results` where it has none."""
    beside = Path(file).parent if file else results
    return beside / f"corrections-{'instances' if instances else 'segmentation'}"


def is_correction_of_pixels(layer: Labels) -> bool:
    """Tell whether the labels of `layer` can be learned from: tiles and boxes are not drawn along what they mean."""
    return plugin_metadata(layer).get("task") not in ("classification", "detection")
