"""How good a head is on labelled images: whole images, one after the other, in the way it will be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.labelled.read import LabelledImage, LabelledSet, Loaded, load_labelled
from napari_sdmae.labels.watershed import separate
from napari_sdmae.metrics import (
    ClassificationMetrics,
    DetectionMetrics,
    FoundBoxes,
    InstanceMetrics,
    Metrics,
    SegmentationMetrics,
)
from napari_sdmae.models.heads.box_windows import window_boxes
from napari_sdmae.models.heads.head_model import Finetuned
from napari_sdmae.models.heads.sliding_window import predict_windows

RGB = NDArray[np.uint8]
Context = AbstractContextManager[Any]
Report = dict[str, Any]


def evaluate(
    model: Finetuned,
    images: Sequence[LabelledImage],
    labelled: LabelledSet,
    config: FinetuneConfig,
    autocast: Context | None = None,
) -> Report:
    """Measure a head on some labelled images.

    Parameters
    ----------
    model
        The head, on the device to use.
    images
        Some of the images of `labelled`, such as one part.
    labelled
        The set; its classes are those of the head, see :func:`~napari_sdmae.training.finetuning.classes.with_classes_of`.
    config
        How the labels are read (``labels``, ``seed``) and how many tiles are predicted at once (``batch_size``).
    autocast
        Precision of the forward pass, a context that can be entered again and again.

    Returns
    -------
    dict
        ``images`` and ``groups`` (None if unknown): how many; ``metrics``, ``per_class`` and ``confusion`` as in
        :class:`~napari_sdmae.metrics.Metrics`.

    Raises
    ------
    UnusableImage
        If a file that was readable no longer is.
    ValueError
        If average precision is asked for and its package is not installed.
    """
    evaluation = Evaluation(model, images, labelled, config, autocast)
    for _ in evaluation.run():
        pass
    return evaluation.report()


@dataclass
class Evaluation:
    """An evaluation under way, for callers that want to break off; parameters as of :func:`evaluate`."""

    model: Finetuned
    images: Sequence[LabelledImage]
    labelled: LabelledSet
    config: FinetuneConfig
    autocast: Context | None = None
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = new_metrics(self.model)

    def run(self) -> Iterator[int]:
        """Measure image by image (classification: batch by batch); yield how many are done. The model's mode is put back."""
        training = self.model.training
        self.model.eval()
        try:
            yield from self._classify() if self.labelled.task == "classification" else self._one_by_one()
        finally:
            self.model.train(training)

    def report(self) -> Report:
        """Return what was measured, ready for JSON."""
        groups = {image.group for image in self.images}
        return {
            "images": len(self.images),
            "groups": None if None in groups else len(groups),
            "metrics": self.metrics.compute(),
            "per_class": self.metrics.per_class(),
            "confusion": self.metrics.confusion(),
        }

    def _classify(self) -> Iterator[int]:
        spec, metrics = self.model.spec, cast(ClassificationMetrics, self.metrics)
        tiles = LabelledTiles(self.images, self.labelled, self.config, tile=spec.tile_size, mpp=spec.mpp)
        for first in range(0, len(tiles), self.config.batch_size):
            indices = np.arange(first, min(first + self.config.batch_size, len(tiles)))
            images, labels = tiles.batch(indices, 0, augmented=False)
            metrics.update(class_probabilities(self.model, images, self.autocast), cast(torch.Tensor, labels).numpy())
            yield int(indices[-1]) + 1

    def _one_by_one(self) -> Iterator[int]:
        for done, image in enumerate(self.images, start=1):
            loaded = load_labelled(image, self.labelled, self.model.spec.mpp, self.config.labels.ignore_value)
            self._add(loaded, known_scale(self.model, image))
            yield done

    def _add(self, loaded: Loaded, mpp: float | None) -> None:
        """Predict an image and compare."""
        target = cast("NDArray[Any]", loaded.target)
        match self.metrics:
            case SegmentationMetrics() as metrics:
                metrics.update(predict_classes(self.model, loaded.image, self.autocast), target)
            case InstanceMetrics() as metrics:
                found, types = predict_objects(self.model, loaded.image, mpp, self.autocast)
                metrics.update(found, target, types, loaded.types)
            case DetectionMetrics() as metrics:
                metrics.update(predict_boxes(self.model, loaded.image, self.autocast), FoundBoxes(target, loaded.labels))


def new_metrics(model: Finetuned) -> Metrics:
    """Return the metrics of the head's task, empty."""
    classes = model.spec.classes
    names = [one.name for one in classes]
    if model.spec.task == "segmentation":
        return SegmentationMetrics(names)
    if model.spec.task == "instances":
        return InstanceMetrics(names)
    if model.spec.task == "classification":
        return ClassificationMetrics(names)
    return DetectionMetrics((one.value, one.name) for one in classes)


def known_scale(model: Finetuned, image: LabelledImage) -> float | None:
    """Return the µm per pixel of an image as the head sees it, None where that is not known."""
    return model.spec.mpp if image.mpp is not None else None


def predict_classes(model: Finetuned, image: RGB, autocast: Context | None = None) -> NDArray[np.int64]:
    """Return the class index of every pixel, (H, W), of an image at the head's scale."""
    found: NDArray[np.int64] = predict_windows(model, image, autocast=autocast)["probabilities"].argmax(0)
    return found


def predict_objects(
    model: Finetuned, image: RGB, mpp: float | None, autocast: Context | None = None
) -> tuple[NDArray[np.int32], dict[int, int]]:
    """Return object numbers, (H, W), and the type index of each, of an image at the head's scale (`mpp` if it is known)."""
    maps, head = predict_windows(model, image, autocast=autocast), model.spec.head
    smallest = head.smallest / mpp**2 if mpp else head.smallest
    return separate(maps["foreground"], maps["separation"], maps.get("types"), how=head.separation, smallest_px=smallest)


def predict_boxes(model: Finetuned, image: RGB, autocast: Context | None = None) -> FoundBoxes:
    """Return boxes, class values and scores of an image at the head's scale, in the windows in which it will be used."""

    def read(row: int, column: int, height: int, width: int) -> RGB:
        return image[row : row + height, column : column + width]

    found = window_boxes(model, (image.shape[0], image.shape[1]), read, autocast=autocast)
    return FoundBoxes(found[:, :4], found[:, 4].astype(np.int64), found[:, 5])


def class_probabilities(model: Finetuned, images: torch.Tensor, autocast: Context | None = None) -> NDArray[np.float32]:
    """Return the probabilities (B, C) of tiles (B, 3, S, S) in [0, 1]."""
    with torch.inference_mode(), autocast or nullcontext():
        logits = model(model.normalise(images.to(model.mean.device)))
    probabilities: NDArray[np.float32] = F.softmax(logits.float(), 1).cpu().numpy()
    return probabilities
