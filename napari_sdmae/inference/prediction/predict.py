"""Predict with a fine-tuned head: semantic masks, instances, boxes or tile classes, on the pixels of the picture.

The picture is brought to the scale that the head was trained at, seen in overlapping windows, and the answer brought back. Large
pictures are done in blocks, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from napari_sdmae.config.head import HeadSpec
from napari_sdmae.inference.prediction.classification import classified, is_one_tile, of_wholes
from napari_sdmae.inference.prediction.detection import detected, rectangles
from napari_sdmae.inference.prediction.objects import grow
from napari_sdmae.inference.prediction.pixels import object_channels, objects, segmented
from napari_sdmae.inference.prediction.rescale import RescaledPicture, label_grids, rescale
from napari_sdmae.inference.prediction.result import SURE, Prediction, PredictionOptions, Progress
from napari_sdmae.io.images.field import Region, as_rgb
from napari_sdmae.io.images.pictures import ArrayPicture, FilePicture, Part, Picture
from napari_sdmae.labels.label_map import LabelClass, LabelMap
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.typing import RGB, Floats

__all__ = ["Prediction", "class_probabilities", "predict", "predict_file", "predict_picture", "seen_by"]


def predict(
    model: HeadModel, image: RGB, *, mpp: float | None, region: Region | None = None, source: str = "", **options: Any
) -> Prediction:
    """Apply a head to pixels in memory.

    Parameters
    ----------
    model
        From :func:`napari_sdmae.io.checkpoints.head_folder.load_head`.
    image
        uint8 RGB (H, W, 3).
    mpp
        Its µm per pixel; None: unknown, the model sees the pixels as they are.
    region
        Row, column, height, width in px: only this part is seen and answered; None: all.
    source
        What the image is called.
    options
        As of :func:`predict_picture`.

    Raises
    ------
    InvalidFieldError
        If the region is not inside the image, or too small for one patch.
    """
    return predict_picture(model, _part(ArrayPicture(as_rgb(image), mpp, source), region), **options)


def predict_file(
    model: HeadModel, path: Path | str, *, mpp: float | None = None, region: Region | None = None, **options: Any
) -> Prediction:
    """Apply a head to a file; of an 8-bit TIFF only a band is in memory at a time.

    Parameters
    ----------
    model, region, options
        As of :func:`predict`.
    path
        PNG, JPEG, TIFF or BMP.
    mpp
        µm per pixel; None: as the file states.

    Raises
    ------
    InvalidImageError
        If the file cannot be used.
    InvalidFieldError
        As of :func:`predict`.
    """
    return predict_picture(model, _part(FilePicture(Path(path), mpp), region), **options)


def predict_picture(
    model: HeadModel,
    picture: Picture,
    *,
    probabilities: bool = False,
    cell_expansion_um: float = 0.0,
    smallest: float | None = None,
    least: float = SURE,
    step: int = 1,
    batch: int = 8,
    flips: bool = False,
    core: int = 2016,
    autocast: AbstractContextManager[Any] | None = None,
    progress: Progress | None = None,
) -> Prediction:
    """Apply a head to a picture.

    Parameters
    ----------
    model
        Any head.
    picture
        What is seen, from top to bottom.
    probabilities
        Whether to keep the probabilities: 2 bytes for each class and label pixel.
    cell_expansion_um
        Of instances: nuclei grow by this to cells, none into another; they stay as ``label_map.nuclei``. 0: they do not.
    smallest
        Of instances: smaller objects are left out, µm² (px where the scale is unknown); None: as the head was trained.
    least
        Of detection: boxes with a lower score are left out; an evaluation ranks them all.
    step
        Picture pixels per label pixel, for labels of pictures too large to have one for each.
    batch
        Windows per forward pass.
    flips
        Of segmentation and instances: average the answers to four mirrored views, four times as slow and slightly better.
    core
        Edge of the blocks in which large pictures are done, px of the model.
    autocast
        Context of the forward passes that can be entered again and again (:mod:`napari_sdmae.devices.precision`); None: fp32.
    progress
        Called with the parts done and their number.

    Returns
    -------
    Prediction
        Labels with their place in the source: of segmentation class values, else numbers of objects. Their measurements are
        the probabilities: ``probability`` of each class, or ``probability NAME`` of each object, means over its pixels.

    Raises
    ------
    InvalidFieldError
        If the picture is smaller than one patch at the scale of the model.
    ValueError
        If an option does not fit: cells of a head without objects, or without scale; flips of a head without pixels.
    """
    _check(model.spec, picture, cell_expansion_um, step, flips)
    asked = PredictionOptions(probabilities, smallest, least, step, batch, flips, core, autocast, progress)
    with _in_use(model):
        seen, notes = seen_by(model, picture)
        found = PREDICT_BY_TASK[model.spec.task](model, seen, asked)
    label_map = _cells(found.label_map, cell_expansion_um) if cell_expansion_um else found.label_map
    mpp = None if picture.mpp is None else picture.mpp / seen.factor[0]
    return Prediction(label_map, found.probabilities, found.channels, found.boxes, tuple(notes), mpp)


def class_probabilities(
    model: HeadModel, pictures: Sequence[Picture], *, batch: int = 8, autocast: AbstractContextManager[Any] | None = None
) -> Floats:
    """Return the class probabilities of whole pictures, float32 (N, C): of each the mean over the tiles that are predicted.

    Parameters
    ----------
    model
        A classifier.
    pictures
        What is seen; as many at once as fit into memory.
    batch, autocast
        As of :func:`predict_picture`.

    Raises
    ------
    InvalidFieldError
        As of :func:`predict_picture`.
    """
    with _in_use(model):
        return of_wholes(
            model, [seen_by(model, picture)[0] for picture in pictures], PredictionOptions(batch=batch, autocast=autocast)
        )


def seen_by(model: HeadModel, picture: Picture) -> tuple[RescaledPicture, list[str]]:
    """Return a picture as a head sees it, and what must be said of its scale.

    Raises
    ------
    InvalidFieldError
        If it would be less than a patch.
    """
    spec = model.spec
    fitted = spec.tile_size / spec.fitted_px if spec.fitted_px else 1.0
    return rescale(picture, spec.mpp, spec.encoder.patch_size, fitted)


@contextmanager
def _in_use(model: HeadModel) -> Iterator[None]:
    """Put the model's mode back afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _part(picture: Picture, region: Region | None) -> Picture:
    return picture if region is None else Part(picture, region)


def _check(spec: HeadSpec, picture: Picture, cell_expansion_um: float, step: int, flips: bool) -> None:
    """Raise ValueError if an option does not fit."""
    if flips and spec.task not in ("segmentation", "instances"):
        raise ValueError(
            f"a {spec.task} head has no answer for each pixel that could be averaged over mirrored views: leave flips out"
        )
    if step < 1:
        raise ValueError(f"step {step}: expected 1, or how many pixels one label pixel stands for")
    if cell_expansion_um < 0:
        raise ValueError(f"cell expansion {cell_expansion_um:g} µm: expected 0 or more")
    if cell_expansion_um and spec.task != "instances":
        raise ValueError(f"a {spec.task} head finds no nuclei that could grow to cells: leave the cell expansion at 0")
    if cell_expansion_um and picture.mpp is None:
        raise ValueError("cells grow by micrometres, and the scale of the picture is unknown: give its µm per pixel (mpp)")


def _cells(nuclei: LabelMap, expansion_um: float) -> LabelMap:
    """Return nuclei grown to cells."""
    assert nuclei.label_mpp is not None  # checked before
    cells = grow(nuclei.labels, expansion_um / nuclei.label_mpp)
    return replace(nuclei, labels=cells, nuclei=nuclei.labels)


def _map(model: HeadModel, seen: RescaledPicture, labels: Any, step: float, **more: Any) -> LabelMap:
    """Return labels with what the picture says of their place."""
    picture = seen.picture
    origin = float(picture.corner[0]), float(picture.corner[1])
    classes: tuple[LabelClass, ...] = model.spec.classes
    if not more.get("instances"):
        classes = tuple(one for one in classes if one.value)
    return LabelMap(labels, classes, mpp=picture.mpp, origin=origin, step=step, source=picture.source, **more)


def _segmentation(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions) -> Prediction:
    found = segmented(model, seen, asked)
    label_map = _map(model, seen, found.labels, asked.step, measurements=found.columns)
    return Prediction(label_map, found.probabilities, tuple(one.name for one in model.spec.classes))


def _instances(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions) -> Prediction:
    found = objects(model, seen, asked)
    about = {"instances": True, "class_of": found.values, "measurements": found.columns}
    return Prediction(_map(model, seen, found.labels, asked.step, **about), found.probabilities, object_channels(model.spec))


def _classification(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions) -> Prediction:
    """Return one object for each tile: labels of one pixel per tile; a small picture is one object of all its pixels."""
    tiles = classified(model, seen, asked)
    count, names = prod(tiles.shape[1:]), tuple(one.name for one in model.spec.classes)
    if is_one_tile(model, seen):
        step: float = asked.step
        labels = np.ones([grid.length for grid in label_grids(seen, asked.step)], np.int32)
    else:
        step = model.spec.tile_size / float(np.mean(seen.factor))
        labels = np.arange(1, count + 1, dtype=np.int32).reshape(tiles.shape[1:])
    columns: dict[str, Any] = {"label": np.arange(1, count + 1, dtype=np.int32)}
    columns |= {f"probability {name}": values.ravel() for name, values in zip(names, tiles, strict=True)}
    label_map = _map(
        model, seen, labels, step, instances=True, class_of=dict(enumerate(_winners(model, tiles), 1)), measurements=columns
    )
    return Prediction(label_map, tiles.astype(np.float16) if asked.probabilities else None, names)


def _winners(model: HeadModel, tiles: Floats) -> list[int]:
    """Return the class value of each tile, row by row."""
    return [model.spec.classes[index].value for index in tiles.argmax(0).ravel().tolist()]


def _detection(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions) -> Prediction:
    """Return boxes in px of the source, and rectangles."""
    boxes = detected(model, seen, asked)
    rows, columns = (grid.length for grid in label_grids(seen, asked.step))
    labels = rectangles(boxes, (rows, columns), asked.step)
    table = {
        "label": np.arange(1, len(boxes) + 1, dtype=np.int32),
        "probability": np.array([box.score for box in boxes], np.float32),
    }
    about = {"instances": True, "class_of": {number: box.value for number, box in enumerate(boxes, 1)}, "measurements": table}
    down, right = seen.picture.corner
    return Prediction(_map(model, seen, labels, asked.step, **about), boxes=tuple(box.moved(right, down) for box in boxes))


PREDICT_BY_TASK = {
    "segmentation": _segmentation,
    "instances": _instances,
    "classification": _classification,
    "detection": _detection,
}
