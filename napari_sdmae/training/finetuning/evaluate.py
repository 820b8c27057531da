"""How good a head is on labelled images: what it predicts in whole images, compared on their own pixels.

What is measured is what :func:`~napari_sdmae.inference.prediction.predict.predict_picture` returns, so that a report speaks of
the labels that people get (docs/decisions/0094).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.labelled_set import count_groups
from napari_sdmae.data.labelled.read import LabelledImage, LabelledSet, Loaded, load_labelled
from napari_sdmae.humanize import several
from napari_sdmae.inference.prediction.predict import Prediction, class_probabilities, predict_picture, seen_by
from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.labels.objects import without_those_in
from napari_sdmae.metrics import (
    ClassificationMetrics,
    DetectionMetrics,
    FoundBoxes,
    InstanceMetrics,
    Metrics,
    SegmentationMetrics,
)
from napari_sdmae.models.heads.head_model import HeadModel

Context = AbstractContextManager[Any]
Report = dict[str, Any]


def evaluate(
    model: HeadModel,
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
        How the labels are read (``labels``, ``seed``) and how many classified images are predicted at once (``batch_size``).
    autocast
        Precision of the forward pass, a context that can be entered again and again.

    Returns
    -------
    dict
        ``images`` and ``groups`` (None if unknown): how many; ``metrics``, ``per_class`` and ``confusion`` as in
        :class:`~napari_sdmae.metrics.Metrics`.

    Raises
    ------
    InvalidImageError
        If a file that was readable no longer is.
    InvalidFieldError
        If an image is less than one patch at the scale of the head (:func:`measurable` leaves such images out).
    ValueError
        If average precision is asked for and its package is not installed.
    """
    evaluation = Evaluation(model, images, labelled, config, autocast)
    for _ in evaluation.run():
        pass
    return evaluation.report()


def measurable(model: HeadModel, images: Sequence[LabelledImage]) -> tuple[tuple[LabelledImage, ...], list[str]]:
    """Return the images in which the head can predict, and a warning of those that are less than one patch at its scale.

    Raises
    ------
    InvalidFieldError
        If there are images, and all of them are too small.
    """
    reasons = {image.name: _too_small(model, image) for image in images}
    small = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    if small and len(small) == len(reasons):
        raise InvalidFieldError(small[0])
    fit = tuple(image for image in images if not reasons[image.name])
    more = f", and {several(len(small) - 1, 'other', 'others')}" if len(small) > 1 else ""
    return fit, [f"left out, as it is too small for the head: {small[0]}{more}"] if small else []


def _too_small(model: HeadModel, image: LabelledImage) -> str:
    """Return why the head cannot predict in an image of this size, empty if it can."""
    nothing = np.broadcast_to(np.zeros((), np.uint8), (*image.size, 3))
    try:
        seen_by(model, ArrayPicture(nothing, image.mpp))
    except InvalidFieldError as error:
        return str(error)
    return ""


@dataclass
class Evaluation:
    """An evaluation under way, for callers that want to break off; parameters as of :func:`evaluate`."""

    model: HeadModel
    images: Sequence[LabelledImage]
    labelled: LabelledSet
    config: FinetuneConfig
    autocast: Context | None = None
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = new_metrics(self.model)

    def run(self) -> Iterator[int]:
        """Measure image by image (classification: batch by batch); yield how many are done."""
        yield from self._classify() if self.labelled.task == "classification" else self._one_by_one()

    def report(self) -> Report:
        """Return what was measured, ready for JSON."""
        return {
            "images": len(self.images),
            "groups": count_groups(self.images),
            "metrics": self.metrics.compute(),
            "per_class": self.metrics.per_class(),
            "confusion": self.metrics.confusion(),
            **({"reliability": self.metrics.reliability()} if isinstance(self.metrics, ClassificationMetrics) else {}),
        }

    def _classify(self) -> Iterator[int]:
        metrics = cast(ClassificationMetrics, self.metrics)
        for first in range(0, len(self.images), self.config.batch_size):
            some = [(image, self._loaded(image)) for image in self.images[first : first + self.config.batch_size]]
            pictures = [ArrayPicture(loaded.image, image.mpp, image.name) for image, loaded in some]
            found = class_probabilities(self.model, pictures, batch=self.config.batch_size, autocast=self.autocast)
            metrics.update(found, np.array([loaded.target for _, loaded in some], np.int64))
            yield first + len(some)

    def _one_by_one(self) -> Iterator[int]:
        for done, image in enumerate(self.images, start=1):
            loaded = self._loaded(image)
            picture = ArrayPicture(loaded.image, image.mpp, image.name)
            self._add(loaded, predict_picture(self.model, picture, least=0.0, autocast=self.autocast))
            yield done

    def _loaded(self, image: LabelledImage) -> Loaded:
        """Return an image and its labels, pixel by pixel as they are stored: there predictions lie."""
        return load_labelled(image, self.labelled, None, self.config.labels.ignore_value)

    def _add(self, loaded: Loaded, found: Prediction) -> None:
        """Compare a prediction with the labels."""
        target, labels = cast("NDArray[Any]", loaded.target), found.label_map.labels
        index_of = {one.value: index for index, one in enumerate(self.model.spec.classes)}
        match self.metrics:
            case SegmentationMetrics() as metrics:
                metrics.update(class_indices(labels, index_of), target)
            case InstanceMetrics() as metrics:
                types = {number: index_of[value] for number, value in found.label_map.class_of.items()}
                metrics.update(without_those_in(labels, loaded.unlearned), target, types, loaded.types)
            case DetectionMetrics() as metrics:
                metrics.update(found_boxes(found), FoundBoxes(target, loaded.labels))


def new_metrics(model: HeadModel) -> Metrics:
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


def class_indices(values: NDArray[np.int32], index_of: Mapping[int, int]) -> NDArray[np.int64]:
    """Return the index of each class value, (H, W)."""
    table = np.zeros(max(index_of) + 1, np.int64)
    for value, index in index_of.items():
        table[value] = index
    indices: NDArray[np.int64] = table[values]
    return indices


def found_boxes(found: Prediction) -> FoundBoxes:
    """Return predicted boxes as metrics take them."""
    table = np.array([(box.left, box.top, box.right, box.bottom, box.score) for box in found.boxes], float).reshape(-1, 5)
    return FoundBoxes(table[:, :4], np.array([box.value for box in found.boxes], np.int64), table[:, 4])
