"""By which number on validation images the best epoch of a head is chosen."""

from __future__ import annotations

from napari_sdmae.config.finetune import Task

SELECTING: dict[Task, str] = {
    "segmentation": "mIoU",
    "instances": "mPQ",
    "classification": "balanced_accuracy",
    "detection": "mAP50",
}
OF_ONE_CLASS = "PQ"
"""Selects among heads of nuclei that all have one class."""


def selecting_metric(task: Task, classes: int) -> str:
    """Return the name of the number by which the best epoch is chosen; the higher the better."""
    return OF_ONE_CLASS if task == "instances" and classes <= 1 else SELECTING[task]
