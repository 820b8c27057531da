"""Requests about strokes: the labels that they lead to, and a head folder that draws the same labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.base import Device
from napari_sdmae.inference.scribbles.samples import Method, Samples, ScribbleHead
from napari_sdmae.io.model_info.info import ModelInfo
from napari_sdmae.labels.label_map import LabelClass, LabelMap
from napari_sdmae.typing import RGB
from napari_sdmae.worker.protocol.base import Request


@dataclass(frozen=True, eq=False)
class ScribbleResult:
    """The class of every pixel of a field.

    Attributes
    ----------
    label_map
        Of the classes that are painted.
    probabilities
        uint8 (C, rows, columns), 255 = 1; None if not requested.
    channels
        Class values of the C.
    samples
        Of this field, to be sent as `more` with requests about other fields.
    head
        What can be saved; None for k-NN.
    agreement
        Per class value; see :func:`napari_sdmae.inference.scribbles.classifier.agreement`.
    counts
        Strokes of each class value.
    few
        Class values with too few strokes for their agreement.
    cached
        Whether the field was encoded already.
    seconds
        Time to load, encode, fit, map and compare.
    """

    label_map: LabelMap
    probabilities: NDArray[np.uint8] | None
    channels: tuple[int, ...]
    samples: Samples
    head: ScribbleHead | None
    method: Method
    detail: int
    agreement: Mapping[int, float]
    counts: Mapping[int, int]
    few: tuple[int, ...]
    cached: bool
    model: ModelInfo
    note: str
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ScribbleRequest(Request[ScribbleResult]):
    """Learn the class of every pixel of a field, uint8 (H, W, 3), from painted pixels.

    Attributes
    ----------
    model
        Any model with an encoder.
    positions, values, strokes
        Painted pixels of the field: (row, column) (N, 2) in field pixels, class value and number of the stroke of each.
    classes
        Those of which nothing is painted are left out of the result.
    more
        Samples of earlier results about other fields, which are learned from too.
    detail
        How many times the picture is enlarged for the encoder: patches then cover less tissue.
    mpp
        µm per pixel of the field; None if unknown.
    probabilities
        Whether they are part of the result.
    """

    model: str
    image: RGB
    positions: NDArray[np.float32]
    values: NDArray[np.int64]
    strokes: NDArray[np.int64]
    classes: tuple[LabelClass, ...]
    more: tuple[Samples, ...] = ()
    method: Method = "linear"
    detail: int = 1
    mpp: float | None = None
    probabilities: bool = False
    device: Device = "auto"


@dataclass(frozen=True, eq=False)
class SaveScribblesRequest(Request[Path]):
    """Write a head folder that segments as the strokes did; the result is that folder.

    Attributes
    ----------
    folder
        Must not exist, or be empty.
    model
        The model whose tokens the head was fitted to.
    classes
        Those of the head, as they are called now.
    source, strokes, agreement
        Kept beside the head: the picture, and by class value how many strokes there were and how well they agreed.
    """

    folder: Path
    model: str
    head: ScribbleHead
    classes: tuple[LabelClass, ...]
    source: str = ""
    strokes: Mapping[int, int] = field(default_factory=dict)
    agreement: Mapping[int, float] = field(default_factory=dict)
