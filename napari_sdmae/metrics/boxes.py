"""Average precision of boxes, by torchmetrics and pycocotools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.metrics.values import PerClass, Values

MOST_BOXES = 500
"""Boxes of one image that are counted, best first; COCO's 100 are too few for nuclei."""


def check_detection_metrics() -> None:
    """Raise ValueError if the package that average precision needs is not installed."""
    if find_spec("pycocotools") is None:
        raise ValueError(
            "average precision of boxes needs the package pycocotools, which is not installed: pip install 'napari-sdmae[detect]'"
        )


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
