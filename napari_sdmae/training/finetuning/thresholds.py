"""Which thresholds separate objects best, tried on the validation images once the head is chosen.

They depend on how sharp the maps of a head are, and so on how long it was trained: a valley of 0.08 instead of 0.15 took one head
from an AJI of .356 to .392, and another from .519 to .507. The network sees each image once; then the valley is chosen at the
usual probability, and the probability at that valley.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.data.labelled.labelled_set import LabelledImage, LabelledSet
from napari_sdmae.data.labelled.load import load_labelled
from napari_sdmae.inference.prediction.pixels import MARGIN, PredictedBlock, predicted, separated
from napari_sdmae.inference.prediction.predict import seen_by
from napari_sdmae.inference.prediction.rescale import RescaledPicture
from napari_sdmae.inference.prediction.result import PredictionOptions
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.labels.objects import without_those_in
from napari_sdmae.labels.thresholds import ObjectThresholds
from napari_sdmae.labels.watershed import DEFAULT
from napari_sdmae.metrics import InstanceMetrics, selecting_metric
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.typing import Labels

VALLEYS = (0.04, 0.06, 0.08, 0.11, 0.15, 0.2)
INSIDES = (0.4, 0.5, 0.6)
MOST_PIXELS = 8_000_000
"""Of the images tried on, whose maps stay in memory: eight fields of 1,000 px, each separated nine times."""


@dataclass(frozen=True)
class Predicted:
    """A labelled image and the maps that the head predicts in it; `unlearned` as of :class:`Loaded`."""

    truth: Labels
    types: Mapping[int, int]
    unlearned: NDArray[np.bool_] | None
    seen: RescaledPicture
    blocks: tuple[PredictedBlock, ...]


def choose_thresholds(
    model: HeadModel,
    images: Sequence[LabelledImage],
    labelled: LabelledSet,
    config: FinetuneConfig,
    autocast: AbstractContextManager[Any] | None = None,
) -> Generator[None, None, ObjectThresholds]:
    """Return the thresholds that separate the objects of images best; yields often, for callers that want to break off.

    Parameters
    ----------
    model, images, labelled, config, autocast
        As of :func:`~napari_sdmae.training.finetuning.evaluate.evaluate`; of images with many pixels the first
        :data:`MOST_PIXELS` are tried.
    """
    asked = PredictionOptions(autocast=autocast)
    tried: list[Predicted] = []
    pixels = 0
    for image in images:
        loaded = load_labelled(image, labelled, None, config.labels.ignore_value)
        seen, _ = seen_by(model, ArrayPicture(loaded.image, image.mpp, image.name))
        blocks = tuple(predicted(model, seen, asked, margin=MARGIN))
        tried.append(Predicted(np.asarray(loaded.target, np.int32), loaded.types, loaded.unlearned, seen, blocks))
        yield
        pixels += seen.rows * seen.columns
        if pixels > MOST_PIXELS:
            break
    return (yield from best_thresholds(model.spec, tried))


def best_thresholds(spec: HeadSpec, tried: Sequence[Predicted]) -> Generator[None, None, ObjectThresholds]:
    """Return the thresholds with which the metric that selects epochs is best; the usual ones where nothing differs."""
    by_valley = yield from _best(spec, tried, [DEFAULT.model_copy(update={"valley": valley}) for valley in VALLEYS])
    return (yield from _best(spec, tried, [by_valley.model_copy(update={"inside": inside}) for inside in INSIDES]))


def _best(
    spec: HeadSpec, tried: Sequence[Predicted], candidates: Sequence[ObjectThresholds]
) -> Generator[None, None, ObjectThresholds]:
    """Return the candidate that measures best; of equal ones the nearest to the usual thresholds."""
    values = []
    for candidate in candidates:
        values.append((yield from _value(spec.model_copy(update={"thresholds": candidate}), tried)))
    distances = [abs(one.valley - DEFAULT.valley) + abs(one.inside - DEFAULT.inside) for one in candidates]
    return max(zip(values, distances, candidates, strict=True), key=lambda one: (one[0], -one[1]))[2]


def _value(spec: HeadSpec, tried: Sequence[Predicted]) -> Generator[None, None, float]:
    """Return the metric that selects epochs, 0 where nothing can be measured."""
    metrics = InstanceMetrics([one.name for one in spec.classes])
    index_of = {one.value: index for index, one in enumerate(spec.classes)}
    for one in tried:
        found = separated(spec, one.seen, PredictionOptions(), one.blocks)
        types = {number: index_of[value] for number, value in found.values.items()}
        metrics.update(without_those_in(found.labels, one.unlearned), one.truth, types, one.types)
        yield
    return metrics.compute().get(selecting_metric(spec.task, len(spec.classes)), 0.0)
