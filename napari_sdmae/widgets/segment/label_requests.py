"""What is asked of the worker about the labels of a layer: measuring, writing, reading. Pure functions that return questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Labels

from napari_sdmae import __version__
from napari_sdmae.humanize import slug
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.serialization import label_map_to_answer
from napari_sdmae.layers.base import Field, Source
from napari_sdmae.layers.labels import layer_label_map
from napari_sdmae.widgets.canvas.edit_labels import mark_of, plane_of
from napari_sdmae.widgets.canvas.layer_region import Box, FieldError, Taken, take

Question = dict[str, Any]


def snapshot(layer: Labels) -> Callable[[], LabelMap]:
    """Return what makes the label map that `layer` shows now: a copy of its labels, as a person may paint on.

    The rest is left for the thread that asks the worker: of fifty thousand objects it takes a while.
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


def pixels_under(label_map: LabelMap, image: Any, point: Sequence[float]) -> Taken:
    """Return the part of the `image` layer that lies under labels, at the pyramid level nearest to their resolution.

    Raises
    ------
    FieldError
        If the labels lie outside of the picture, or are not of its size.
    """
    mpp = Source.of(image).mpp
    taken = take(image, point, edges(label_map), mpp * label_map.step if mpp else None)
    covered = tuple(round(edge * taken.field.step / label_map.step) for edge in taken.field.size)
    if any(abs(got - edge) > 1 for got, edge in zip(covered, label_map.labels.shape, strict=True)):
        raise FieldError(f"The labels reach beyond “{image.name}”. Choose the image above to which they belong.")
    return taken


def place_in(label_map: LabelMap, image: Any, point: Sequence[float]) -> Field:
    """Return where labels of the whole source lie in the `image` layer.

    Raises
    ------
    FieldError
        If they lie outside of the picture.
    """
    taken = take(image, point, edges(label_map), None)
    (row, column), (height, width) = label_map.origin, label_map.labels.shape
    origin = (round(row), round(column))
    source, edge = taken.field.source, taken.picture.shapes[0][1]
    return Field(source, origin, (height, width), label_map.step, taken.field.index, edge)


def measure_question(label_map: LabelMap, taken: Taken | None, device: str) -> Question:
    """Return the question that measures labels again; without a picture the stains are left out."""
    asked: Question = {"kind": "measure", "label_map": label_map_to_answer(label_map), "device": device}
    if taken is None:
        return asked
    height, width = taken.pixels.shape[:2]
    return asked | {"image": taken.pixels, "region": (0, 0, height, width)}


def export_question(taken: Callable[[], LabelMap], path: Path, options: Mapping[str, Any]) -> Question:
    """Return the question that writes the labels of a :func:`snapshot` to `path`."""
    return {"kind": "export_labels", "label_map": label_map_to_answer(taken()), "path": str(path), **options}


def save_question(label_map: LabelMap, taken: Taken, mark: Mapping[str, Any], folder: Path, replace: bool) -> Question:
    """Return the question that writes a picture and its corrected labels as training data.

    Raises
    ------
    FieldError
        If the picture cannot be read at the resolution of the labels.
    """
    if taken.field.size != label_map.labels.shape:
        raise FieldError("The labels are coarser than the picture. Segment a smaller region, and correct that.")
    classes = mark.get("head_classes") or [one.model_dump() for one in label_map.classes]
    about = {
        "source": label_map.source,
        "origin": list(label_map.origin),
        "step": label_map.step,
        "mpp": label_map.mpp,
        "head": mark.get("head"),
        "corrected": datetime.now(UTC).isoformat(timespec="seconds"),
        "written_by": f"napari-sdmae {__version__}",
    }
    return {
        "kind": "save_corrections",
        "label_map": label_map_to_answer(label_map),
        "image": taken.pixels,
        "folder": str(folder),
        "name": correction_name(label_map, taken.layer.name),
        "classes": classes,
        "provenance": about,
        "slide": Path(label_map.source).stem,
        "replace": replace,
    }


def correction_name(label_map: LabelMap, layer_name: str) -> str:
    """Return what a corrected picture is called: its source, and where in it the labels begin."""
    stem = Path(label_map.source).stem if label_map.source else layer_name
    row, column = (round(at) for at in label_map.origin)
    height, width = label_map.labels.shape
    return f"{slug(stem, 'picture')}-r{row}-c{column}-{height}x{width}"


def source_file(layer: Labels) -> str:
    """Return the file of the picture to which the labels of `layer` belong, or an empty text where it has none."""
    source = str(mark_of(layer).get("source", ""))
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
    return mark_of(layer).get("task") not in ("classification", "detection")
