"""Probabilities of classes that mean what they say: the temperature of a classifier, chosen on the validation images.

Logits divided by one number give the same classes, and probabilities that are right as often as they state (Guo et al., arXiv
1706.04599). With few images, all of them right, the best number would be 0, so that it is held near 1: a prior of a factor of
about 1.6 up or down.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from math import exp
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.labelled_set import LabelledImage, LabelledSet
from napari_sdmae.metrics import ClassificationMetrics
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.training.finetuning.evaluate import Evaluation

PRIOR = 0.5
"""Deviation of the logarithm of the temperature."""
MOST = 2.5
"""Largest logarithm of the temperature, and least of its inverse."""
LEAST = 1e-12
"""Probabilities below it count as this."""


def choose_temperature(
    model: HeadModel,
    images: Sequence[LabelledImage],
    labelled: LabelledSet,
    config: FinetuneConfig,
    autocast: AbstractContextManager[Any] | None = None,
) -> Generator[None, None, float]:
    """Return the temperature of `model`, whose own is 1; yields often, for callers that want to break off.

    Parameters
    ----------
    model, images, labelled, config, autocast
        As of :func:`~napari_sdmae.training.finetuning.evaluate.evaluate`.
    """
    evaluation = Evaluation(model, images, labelled, config, autocast)
    for _ in evaluation.run():
        yield
    metrics = cast(ClassificationMetrics, evaluation.metrics)
    return fitted_temperature(metrics.probabilities, metrics.truth)


def fitted_temperature(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Return the temperature with which `probabilities` (N, C), at 1, are likeliest given the classes `truth` (N,)."""
    logits = np.log(np.maximum(probabilities, LEAST))
    rows = np.arange(len(truth))

    def surprise(logarithm: float) -> float:
        scaled = logits / exp(logarithm)
        scaled -= scaled.max(1, keepdims=True)
        likely = scaled[rows, truth] - np.log(np.exp(scaled).sum(1))
        return float(-likely.sum() + (logarithm / PRIOR) ** 2 / 2)

    return exp(float(minimize_scalar(surprise, bounds=(-MOST, MOST), method="bounded").x))
