"""How good a head is: one class for each task, fed image by image, that says its numbers by name.

A class that occurs neither in the labels nor in the predictions is not counted in a mean, and a number that nothing can be said
about is left out: there is never a NaN (docs/decisions/0094). Confusion matrix, AUROC and average precision are torchmetrics';
AJI, panoptic quality and F1 of objects are computed from the overlaps of the objects.
"""

from __future__ import annotations

from napari_sdmae.config.selecting import selecting_metric
from napari_sdmae.labels.label_map import IGNORE
from napari_sdmae.metrics.boxes import DetectionMetrics, FoundBoxes, check_detection_metrics
from napari_sdmae.metrics.classes import ClassificationMetrics, SegmentationMetrics
from napari_sdmae.metrics.objects import InstanceMetrics, aggregated_jaccard, overlaps
from napari_sdmae.metrics.values import Metrics

__all__ = [
    "IGNORE",
    "ClassificationMetrics",
    "DetectionMetrics",
    "FoundBoxes",
    "InstanceMetrics",
    "Metrics",
    "SegmentationMetrics",
    "aggregated_jaccard",
    "check_detection_metrics",
    "overlaps",
    "selecting_metric",
]
