"""How good a head is: one class for each task, fed image by image, that says its numbers by name.

A class that occurs neither in the labels nor in the predictions is not counted in a mean, and a number that nothing can be said
about is left out: there is never a NaN (docs/decisions/0094). Confusion matrix, AUROC and average precision are torchmetrics';
AJI, panoptic quality and F1 of objects are computed from the overlaps of the objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.functional.classification import binary_auroc

from napari_sdmae.finetune_config import Task

IGNORE = -1
"""Class index of pixels that are not counted."""

MOST_BOXES = 500
"""Boxes of one image that are counted, best first; COCO's 100 are too few for nuclei."""

Values = dict[str, float]
PerClass = dict[str, Values]


class Metrics(Protocol):
    """What all of them say once they have seen all images."""

    def compute(self) -> Values:
        """Return the numbers over all images, by name."""
        ...

    def per_class(self) -> PerClass:
        """Return the numbers of each class by its name; a class about which nothing can be said has none."""
        ...

    def confusion(self) -> list[list[int]] | None:
        """Return how often a class (row) was taken for each (column), or None where that means nothing."""
        ...


def selecting_metric(task: Task, classes: int) -> str:
    """Return the name of the number by which the best epoch is chosen; the higher the better."""
    of_objects = "mPQ" if classes > 1 else "PQ"
    names: dict[Task, str] = {"segmentation": "mIoU", "classification": "balanced_accuracy", "detection": "mAP50"}
    return names.get(task, of_objects)


def check_detection_metrics() -> None:
    """Raise ValueError if the package that average precision needs is not installed."""
    if find_spec("pycocotools") is None:
        raise ValueError(
            "average precision of boxes needs the package pycocotools, which is not installed: pip install 'napari-sdmae[detect]'"
        )


class SegmentationMetrics:
    """Intersection over union and Dice of each class over the pixels of all images.

    Parameters
    ----------
    classes
        Names of the classes, in the order of their indices.
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
        Names of the classes, in the order of their indices.
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
        """Return ``accuracy``, and means over classes: ``balanced_accuracy`` (recall), ``F1`` and ``AUROC``."""
        means = {"balanced_accuracy": self._counts.recall(), "F1": self._counts.dice(), "AUROC": self._auroc()}
        return self._counts.accuracy() | self._counts.means(means)

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


@dataclass(frozen=True)
class Overlaps:
    """Which objects of two label images lie on which.

    Attributes
    ----------
    truth, found
        Pixels of each object, by its number.
    pairs
        (number in the truth, number found): pixels in common, at least 1.
    """

    truth: dict[int, int]
    found: dict[int, int]
    pairs: dict[tuple[int, int], int]

    def iou(self, pair: tuple[int, int]) -> float:
        """Return the intersection over union of two objects that overlap."""
        common = self.pairs[pair]
        return common / (self.truth[pair[0]] + self.found[pair[1]] - common)


def overlaps(truth: NDArray[np.integer], found: NDArray[np.integer]) -> Overlaps:
    """Return the overlaps of two label images (H, W); 0 is no object.

    Raises
    ------
    ValueError
        If they differ in shape.
    """
    if truth.shape != found.shape:
        raise ValueError(f"got label images of {truth.shape} and {found.shape}; expected the same shape")
    stride = int(found.max(initial=0)) + 1
    codes, pixels = np.unique(truth.astype(np.int64) * stride + found, return_counts=True)
    pairs = {divmod(code, stride): count for code, count in zip(codes.tolist(), pixels.tolist(), strict=True)}
    areas: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for pair, count in pairs.items():
        for area, number in zip(areas, pair, strict=True):
            area[number] = area.get(number, 0) + count
    for area in areas:
        area.pop(0, None)
    return Overlaps(*areas, {pair: count for pair, count in pairs.items() if all(pair)})


def aggregated_jaccard(both: Overlaps) -> float | None:
    """Return the aggregated Jaccard index of an image, None where there are no objects at all.

    Each true object is paired with the found one of highest intersection over union; the sum of the intersections is divided by
    that of the unions and of the found objects that no true one was paired with (Kumar et al., IEEE TMI 2017).
    """
    best: dict[int, tuple[float, int]] = {}
    for true, found in both.pairs:
        candidate = both.iou((true, found)), -found
        best[true] = max(best.get(true, candidate), candidate)
    partner = {true: -number for true, (_, number) in best.items()}
    common = sum(both.pairs[pair] for pair in partner.items())
    used = set(partner.values())
    missed = sum(area for number, area in both.found.items() if number not in used)
    union = sum(both.truth.values()) + sum(both.found[number] for number in partner.values()) - common + missed
    return common / union if union else None


@dataclass
class Matches:
    """Objects that were found (intersection over union above one half, so each at most once), missed, and invented."""

    quality: float = 0.0
    found: int = 0
    missed: int = 0
    invented: int = 0

    def add(self, both: Overlaps) -> None:
        """Count the objects of an image."""
        right = [iou for pair in both.pairs if (iou := both.iou(pair)) > 0.5]
        self.quality += sum(right)
        self.found += len(right)
        self.missed += len(both.truth) - len(right)
        self.invented += len(both.found) - len(right)

    def compute(self) -> Values:
        """Return ``PQ`` = ``SQ`` × ``F1`` (Kirillov et al., CVPR 2019), as far as there are objects."""
        weight = self.found + (self.missed + self.invented) / 2
        if not weight:
            return {}
        segmentation = {"SQ": self.quality / self.found} if self.found else {}
        return {"PQ": self.quality / weight, "F1": self.found / weight} | segmentation


class InstanceMetrics:
    """AJI, panoptic quality and F1 at an overlap of one half, of objects.

    Parameters
    ----------
    classes
        Names of the types, in the order of their indices.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._all = Matches()
        self._types = [Matches() for _ in classes]
        self._aji: list[float] = []

    def update(
        self,
        prediction: NDArray[np.integer],
        truth: NDArray[np.integer],
        predicted_types: Mapping[int, int] | None = None,
        true_types: Mapping[int, int] | None = None,
    ) -> None:
        """Add an image: object numbers (H, W), 0 = none, and with several types the type index of each number."""
        both = overlaps(truth, prediction)
        self._all.add(both)
        aji = aggregated_jaccard(both)
        self._aji += [] if aji is None else [aji]
        if len(self.classes) > 1:
            for index, matches in enumerate(self._types):
                matches.add(_of_type(both, index, true_types or {}, predicted_types or {}))

    def compute(self) -> Values:
        """Return ``PQ``, ``F1``, ``SQ`` over all objects, ``AJI`` (mean over images) and, of several types, ``mPQ``."""
        values = self._all.compute() | ({"AJI": float(np.mean(self._aji))} if self._aji else {})
        qualities = [one["PQ"] for one in self.per_class().values() if "PQ" in one]
        return values | ({"mPQ": float(np.mean(qualities))} if qualities and len(self.classes) > 1 else {})

    def per_class(self) -> PerClass:
        """Return ``PQ``, ``F1`` and ``SQ`` of each type: an object of another type is not found."""
        of = self._types if len(self.classes) > 1 else [self._all]
        return {name: matches.compute() for name, matches in zip(self.classes, of, strict=True)}

    def confusion(self) -> None:
        """Return None: what lies on no object has no class."""
        return


def _of_type(both: Overlaps, index: int, true_types: Mapping[int, int], found_types: Mapping[int, int]) -> Overlaps:
    """Return the overlaps among objects of one type."""
    truth = {number: area for number, area in both.truth.items() if true_types.get(number) == index}
    found = {number: area for number, area in both.found.items() if found_types.get(number) == index}
    return Overlaps(truth, found, {pair: count for pair, count in both.pairs.items() if pair[0] in truth and pair[1] in found})


@dataclass(frozen=True)
class FoundBoxes:
    """Boxes of an image: (N, 4) left, upper, right, lower edge in px; class values (N,); of predictions scores (N,)."""

    boxes: NDArray[np.floating]
    labels: NDArray[np.integer]
    scores: NDArray[np.floating] = field(default_factory=lambda: np.zeros(0, np.float32))


class DetectionMetrics:
    """Mean average precision of boxes (COCO).

    Parameters
    ----------
    classes
        Class value and name of each class.
    """

    def __init__(self, classes: Iterable[tuple[int, str]]) -> None:
        check_detection_metrics()
        from torchmetrics.detection import MeanAveragePrecision

        self.classes = dict(classes)
        self._metric = MeanAveragePrecision(extended_summary=True, max_detection_thresholds=[1, 100, MOST_BOXES])
        self._metric.warn_on_many_detections = False
        self._found: PerClass | None = None

    def update(self, prediction: FoundBoxes, truth: FoundBoxes) -> None:
        """Add an image."""
        self._found = None
        found = {**_tensors(truth), **_tensors(prediction), "scores": torch.from_numpy(np.array(prediction.scores, np.float32))}
        self._metric.update([found], [_tensors(truth)])

    def compute(self) -> Values:
        """Return ``mAP50`` and ``mAP`` (mean over overlaps of 0.5 to 0.95), means over the classes that have objects."""
        rows = [row for row in self.per_class().values() if row]
        return {f"m{name}": float(np.mean([row[name] for row in rows])) for name in ("AP50", "AP") if rows}

    def per_class(self) -> PerClass:
        """Return ``AP50`` and ``AP`` of each class that has objects."""
        if self._found is None:
            self._found = self._averages()
        return self._found

    def confusion(self) -> None:
        """Return None: a box that is nowhere near another has no class."""
        return

    def _averages(self) -> PerClass:
        """Return the average precision of each class over COCO's 101 recalls: over all sizes, with all boxes."""
        rows: PerClass = {name: {} for name in self.classes.values()}
        result = self._metric.compute()
        precision = (
            result["precision"].double().numpy()[..., 0, -1]
        )  # thresholds, recalls, classes; -1 where there are no objects
        for column, label in enumerate(result["classes"].reshape(-1).tolist()):
            if (precision[..., column] >= 0).all():
                rows[self.classes[label]] = {
                    "AP50": float(precision[0, :, column].mean()),
                    "AP": float(precision[..., column].mean()),
                }
        return rows


def _tensors(boxes: FoundBoxes) -> dict[str, Tensor]:
    """Return boxes and labels as torchmetrics wants them."""
    return {
        "boxes": torch.from_numpy(np.array(boxes.boxes, np.float32).reshape(-1, 4)),
        "labels": torch.from_numpy(np.array(boxes.labels, np.int64).reshape(-1)),
    }
