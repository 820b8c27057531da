"""What the head makes of the same few validation images, epoch after epoch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.read import LabelledImage, LabelledSet, Loaded, load_labelled
from napari_sdmae.devices.precision import autocast
from napari_sdmae.inference.prediction.classification import middle_tile, tile_probabilities
from napari_sdmae.inference.prediction.predict import predict, seen_by
from napari_sdmae.inference.prediction.result import PredictionOptions
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.io.images.read import read_image
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.training.finetuning.contact_sheet import contact_sheet, outlines
from napari_sdmae.training.finetuning.evaluate import found_boxes
from napari_sdmae.training.loop.engine import SteppingEngine
from napari_sdmae.typing import RGB, Labels

EDGE = 256
"""Pixels that are shown at least, where the images have so many."""


class Shown(NamedTuple):
    """An image of the preview (S, S, 3), its labels (S, S), of a whole tile (), and where it comes from."""

    image: RGB
    truth: Labels
    source: LabelledImage


class HeadPreviewer:
    """Predicts some validation images (training images where there are none), cut to a common size around their middle.

    ``epoch-000003.npz`` holds ``input`` uint8 (N, S, S, 3), ``truth`` and ``prediction`` int32. Segmentation: class values
    (N, S, S), the value left out where nothing is labelled; instances: object numbers; detection: outlines of the boxes in class
    values. Classification: class values (N,), and ``probabilities`` float32 (N, C).

    Parameters
    ----------
    engine
        Model and settings.
    labelled
        The labelled images.
    """

    def __init__(self, engine: SteppingEngine[FinetuneConfig, HeadModel], labelled: LabelledSet) -> None:
        self._engine, self._labelled, self._task = engine, labelled, labelled.task
        images = labelled.part("validation") or labelled.part("train")
        places = np.linspace(0, len(images) - 1, min(engine.config.preview_tiles, len(images))).round().astype(int)
        chosen = [images[place] for place in places]
        self._shown = self._whole_tiles(chosen) if self._task == "classification" else self._crops(chosen)

    def write(self, folder: RunFolder, epoch: int) -> Path:
        """Write the arrays and a contact sheet (input, truth, prediction); return the path of the former."""
        model, training = self._engine.model, self._engine.model.training
        model.eval()
        arrays: dict[str, NDArray[Any]] = {
            "input": np.stack([one.image for one in self._shown]),
            "truth": np.stack([one.truth for one in self._shown]),
            **self._predicted(),
        }
        model.train(training)
        folder.previews_folder.mkdir(exist_ok=True)
        path = folder.previews_folder / f"epoch-{epoch:06d}.npz"
        sheet = contact_sheet(arrays, self._labelled.classes, objects=self._task == "instances")
        write_atomically(path.with_suffix(".png"), sheet)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        write_atomically(path, buffer.getvalue())
        return path

    def _whole_tiles(self, chosen: Sequence[LabelledImage]) -> list[Shown]:
        """Return what the head sees of classified images: the tile in their middle."""
        model = self._engine.model
        pictures = [ArrayPicture(read_image(one.path), one.mpp, one.name) for one in chosen]
        tiles = [middle_tile(seen_by(model, picture)[0], model.spec.tile_size) for picture in pictures]
        return [Shown(tile, np.array(one.label, np.int32), one) for tile, one in zip(tiles, chosen, strict=True)]

    def _crops(self, chosen: Sequence[LabelledImage]) -> list[Shown]:
        """Return the middle of each image, as large as the smallest image and the tile allow."""
        spec, left_out = self._engine.model.spec, self._engine.config.labels.ignore_value
        loaded = [load_labelled(image, self._labelled, spec.mpp, left_out) for image in chosen]
        edge = min(max(spec.tile_size, EDGE), *(length for one in loaded for length in one.image.shape[:2]))
        shown = []
        for one, source in zip(loaded, chosen, strict=True):
            height, width = one.image.shape[:2]
            rows, columns = (slice((length - edge) // 2, (length - edge) // 2 + edge) for length in (height, width))
            shown.append(Shown(np.ascontiguousarray(one.image[rows, columns]), self._truth(one)[rows, columns], source))
        return shown

    def _truth(self, loaded: Loaded) -> Labels:
        """Return the labels of a whole image as they are shown."""
        values = np.asarray(loaded.target)
        if self._task == "detection":
            return outlines(values, loaded.labels, (loaded.image.shape[0], loaded.image.shape[1]))
        return self._class_values(values) if self._task == "segmentation" else values.astype(np.int32)

    def _class_values(self, indices: NDArray[np.integer]) -> Labels:
        """Return class values for class indices, the value left out for -1."""
        left_out = self._engine.config.labels.ignore_value
        values: Labels = np.array([*(one.value for one in self._labelled.classes), left_out], np.int32)[indices]
        return values

    def _predicted(self) -> dict[str, NDArray[Any]]:
        """Return the prediction of all images, and the probabilities of whole tiles."""
        if self._task != "classification":
            return {"prediction": np.stack([self._map(one) for one in self._shown])}
        tiles = np.stack([one.image for one in self._shown])
        probabilities = tile_probabilities(self._engine.model, tiles, PredictionOptions(autocast=self._context))
        return {"prediction": self._class_values(probabilities.argmax(1)), "probabilities": probabilities}

    def _map(self, shown: Shown) -> Labels:
        """Return the predicted labels of one image, which has the scale of the head already if its scale is known."""
        mpp = None if shown.source.mpp is None else self._engine.model.spec.mpp
        found = predict(self._engine.model, shown.image, mpp=mpp, autocast=self._context)
        if self._task == "detection":
            boxes = found_boxes(found)
            return outlines(boxes.boxes, boxes.labels, (shown.image.shape[0], shown.image.shape[1]))
        return found.label_map.labels

    @property
    def _context(self) -> AbstractContextManager[Any]:
        return autocast(self._engine.world.device, self._engine.precision)
