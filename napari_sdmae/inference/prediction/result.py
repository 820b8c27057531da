"""What a head says about a picture, in whatever task it was trained for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.labels.label_map import LabelMap

SURE = 0.5
"""Boxes with a lower score are not shown."""

Progress = Callable[[float, int], None]


@dataclass(frozen=True)
class Box:
    """One object found: its corners in px of the source at full resolution, its class value, how sure the head is in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float
    value: int
    score: float

    def moved(self, right: float, down: float) -> Box:
        """Return the box moved by px."""
        edges = self.left + right, self.top + down, self.right + right, self.bottom + down
        return Box(*edges, self.value, self.score)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labels of a picture, or of a region of it.

    Attributes
    ----------
    label_map
        Segmentation: class values. Instances, boxes and tiles (classification): object numbers, in reading order.
    probabilities
        float16 (C, rows, columns) in [0, 1] on the pixels of the labels; of tiles (C, tile rows, tile columns); None if not asked
        for.
    channels
        What each of the C is: the name of a class, or ``object`` for anything of any class.
    boxes
        Of detection: the objects in the order of their numbers.
    warnings
        What must be said beside the result, in words.
    seen_mpp
        µm per pixel of what the model saw; None if unknown.
    """

    label_map: LabelMap
    probabilities: NDArray[np.float16] | None = None
    channels: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    warnings: tuple[str, ...] = ()
    seen_mpp: float | None = None


@dataclass(frozen=True)
class PredictionOptions:
    """How a prediction is made.

    Attributes
    ----------
    probabilities
        Whether they are kept.
    smallest
        Of instances: smaller objects are left out, µm² (px where the scale is unknown); None: as the head was trained.
    least
        Of detection: boxes with a lower score are left out.
    step
        Picture pixels per label pixel.
    batch
        Windows at once.
    flips
        Of segmentation and instances: average four mirrored views.
    core
        Edge of the blocks in which large pictures are done, px of the model.
    autocast
        The context of a forward pass, which can be entered again and again; None: fp32.
    progress
        Called with the parts done, a fraction of the last included, and their number.
    """

    probabilities: bool = False
    smallest: float | None = None
    least: float = SURE
    step: int = 1
    batch: int = 8
    flips: bool = False
    core: int = 2016
    autocast: AbstractContextManager[Any] | None = None
    progress: Progress | None = None

    def context(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        return self.autocast or nullcontext()

    def done(self, part: float, total: int) -> None:
        """Tell how far it is."""
        if self.progress is not None:
            self.progress(part, total)

    def within(self, block: int, total: int) -> Callable[[int, int], None]:
        """Return what tells how far it is, in a `block` of several, from windows done and their number."""
        return lambda windows, count: self.done(block + windows / count, total)
