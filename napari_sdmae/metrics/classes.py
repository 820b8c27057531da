"""Numbers of classes, of pixels or of whole images, that follow from how often each was taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.functional.classification import binary_auroc

from napari_sdmae.labels.label_map import IGNORE
from napari_sdmae.metrics.values import PerClass, Values

TENTHS = 10
"""Parts of the range of probabilities in which calibration is measured."""


class SegmentationMetrics:
    """Intersection over union and Dice of each class over the pixels of all images.

    Parameters
    ----------
    classes
        Class names, in the order of their indices.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._counts = Confusion(len(classes))

    def update(self, prediction: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Add an image: class indices, both (H, W); of `truth`, :data:`IGNORE` is not counted."""
        self._counts.add(prediction, truth)

    def compute(self) -> Values:
        """Return ``mIoU`` and ``Dice``, means over the classes that occur, and the ``accuracy`` of the pixels."""
        return self._counts.means({"mIoU": self._counts.iou(), "Dice": self._counts.dice()}) | self._counts.accuracy()

    def per_class(self) -> PerClass:
        """Return ``IoU`` and ``Dice``."""
        return named(self.classes, {"IoU": self._counts.iou(), "Dice": self._counts.dice()})

    def confusion(self) -> list[list[int]]:
        """Return the pixels of each class (row) that were taken for each (column)."""
        return self._counts.listed()


class ClassificationMetrics:
    """Accuracy, balanced accuracy, F1 and AUROC of whole images.

    Parameters
    ----------
    classes
        Class names, in the order of their indices.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._counts = Confusion(len(classes))
        self._probabilities: list[Tensor] = []
        self._truth: list[Tensor] = []

    def update(self, probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> None:
        """Add images: probabilities (N, C) and class indices (N,)."""
        self._counts.add(probabilities.argmax(1), truth)
        self._probabilities.append(torch.from_numpy(np.asarray(probabilities, np.float64)))
        self._truth.append(torch.from_numpy(np.asarray(truth, np.int64)))

    def compute(self) -> Values:
        """Return ``accuracy``, means over classes (``balanced_accuracy``, ``F1``, ``AUROC``), and the ``calibration_error``."""
        means = {"balanced_accuracy": self._counts.recall(), "F1": self._counts.dice(), "AUROC": self._auroc()}
        values = self._counts.accuracy() | self._counts.means(means)
        return values | ({"calibration_error": self._calibration_error()} if values else {})

    def per_class(self) -> PerClass:
        """Return ``recall``, ``precision``, ``F1`` and ``AUROC`` (one class against all others)."""
        columns = {
            "recall": self._counts.recall(),
            "precision": self._counts.precision(),
            "F1": self._counts.dice(),
            "AUROC": self._auroc(),
        }
        return named(self.classes, columns)

    def confusion(self) -> list[list[int]]:
        """Return the images of each class (row) that were taken for each (column)."""
        return self._counts.listed()

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Those of all images, (N, C)."""
        found: NDArray[np.float64] = torch.cat(self._probabilities).numpy()
        return found

    @property
    def truth(self) -> NDArray[np.int64]:
        """The class index of each image, (N,)."""
        found: NDArray[np.int64] = torch.cat(self._truth).numpy()
        return found

    def reliability(self) -> list[dict[str, float]]:
        """Return how often the answer was right by how sure it was: ``sure``, ``right`` and ``images`` of each tenth in use."""
        if not self._truth:
            return []
        sure, right = self.probabilities.max(1), self.probabilities.argmax(1) == self.truth
        tenth = np.minimum((sure * TENTHS).astype(int), TENTHS - 1)
        inside = [tenth == number for number in range(TENTHS)]
        return [
            {"sure": float(sure[one].mean()), "right": float(right[one].mean()), "images": float(one.sum())}
            for one in inside
            if one.any()
        ]

    def _calibration_error(self) -> float:
        """Return the mean distance between how sure and how often right the answers are (expected calibration error)."""
        rows = self.reliability()
        images = sum(row["images"] for row in rows)
        return sum(row["images"] * abs(row["sure"] - row["right"]) for row in rows) / images

    def _auroc(self) -> NDArray[np.float64]:
        """Return the area under the ROC curve of each class against all others, NaN where one side is empty."""
        images = self._counts.table().sum(1)
        known = (images > 0) & (images < images.sum())
        areas = np.full(len(images), np.nan)
        for index in np.flatnonzero(known):
            scores, truth = torch.cat(self._probabilities)[:, index], torch.eq(torch.cat(self._truth), int(index))
            areas[index] = float(binary_auroc(scores, truth.long()))
        return areas


class Confusion:
    """How often a class was taken for which, and what follows from it; NaN where nothing does."""

    def __init__(self, classes: int) -> None:
        self._metric = MulticlassConfusionMatrix(classes, ignore_index=IGNORE, validate_args=False)

    def add(self, prediction: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Add class indices of the same shape."""
        pair = (torch.from_numpy(np.array(one, np.int64)).reshape(-1) for one in (prediction, truth))
        self._metric.update(*pair)

    def table(self) -> NDArray[np.int64]:
        """Return the counts, truth by prediction."""
        table: NDArray[np.int64] = self._metric.confmat.numpy().astype(np.int64)
        return table

    def listed(self) -> list[list[int]]:
        """Return :meth:`table` as plain numbers."""
        rows: list[list[int]] = self.table().tolist()
        return rows

    def accuracy(self) -> Values:
        """Return the share of the right ones, if there are any at all."""
        table = self.table()
        return {"accuracy": float(np.trace(table) / table.sum())} if table.sum() else {}

    def recall(self) -> NDArray[np.float64]:
        """Return the share of each class that was found."""
        return _ratio(np.diag(self.table()), self.table().sum(1))

    def precision(self) -> NDArray[np.float64]:
        """Return the share of what was taken for each class that is."""
        return _ratio(np.diag(self.table()), self.table().sum(0))

    def dice(self) -> NDArray[np.float64]:
        """Return 2·|A∩B| / (|A| + |B|) of each class, which is also its F1."""
        return _ratio(2 * np.diag(self.table()), self.table().sum(0) + self.table().sum(1))

    def iou(self) -> NDArray[np.float64]:
        """Return |A∩B| / |A∪B| of each class."""
        hit = np.diag(self.table())
        return _ratio(hit, self.table().sum(0) + self.table().sum(1) - hit)

    def means(self, columns: Mapping[str, NDArray[np.float64]]) -> Values:
        """Return the mean of each over the classes it has a value for, if there are any."""
        return {name: float(np.nanmean(column)) for name, column in columns.items() if not np.isnan(column).all()}


def _ratio(above: NDArray[np.integer], below: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return `above` / `below`, NaN where both are 0."""
    ratio: NDArray[np.float64] = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratio


def named(classes: Sequence[str], columns: Mapping[str, NDArray[np.float64]]) -> PerClass:
    """Return the numbers of each class by name, without those that are NaN."""
    rows = (
        {name: float(column[index]) for name, column in columns.items() if not np.isnan(column[index])}
        for index in range(len(classes))
    )
    return dict(zip(classes, rows, strict=True))
