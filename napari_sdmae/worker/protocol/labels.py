"""Requests about labels: what a head predicts, measurements, files, corrections as training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.base import Device, Precision
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.inference.prediction.result import Box
from napari_sdmae.io.labels.geojson.write import ObjectType
from napari_sdmae.labels.label_map import LabelClass, LabelMap
from napari_sdmae.typing import RGB
from napari_sdmae.worker.protocol.base import Request


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """What a head predicts in a field.

    Attributes
    ----------
    label_map
        Its origin counts from the corner of the field.
    probabilities
        uint8 (C, rows, columns), 255 = 1; None if not requested.
    channels
        Names of the C.
    boxes
        For detection: the objects in the order of their numbers.
    head, head_name, head_folder
        What the head is, what it is called, where it lies.
    precision
        In which it computed.
    seen_mpp
        µm per pixel of what the model saw; None if unknown.
    warnings
        What a person must be told about these labels.
    seconds
        Time to load, predict and measure.
    """

    label_map: LabelMap
    probabilities: NDArray[np.uint8] | None
    channels: tuple[str, ...]
    boxes: tuple[Box, ...]
    head: HeadSpec
    head_name: str
    head_folder: str
    precision: str
    seen_mpp: float | None
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class SegmentRequest(Request[SegmentResult]):
    """Predict with a head of any task in a field, uint8 (H, W, 3); see :func:`napari_sdmae.inference.predict`.

    Attributes
    ----------
    head
        Run folder or head folder.
    mpp
        µm per pixel; None if unknown.
    probabilities
        Whether they are part of the result.
    smallest_um2
        Smaller objects are left out; None: as the head was trained.
    flips
        Of segmentation and instances: average four mirrored views.
    measured
        Whether objects, or classes, are measured.
    """

    head: str
    image: RGB
    mpp: float | None = None
    probabilities: bool = False
    cell_expansion_um: float = 0.0
    smallest_um2: float | None = None
    flips: bool = False
    step: int = 1
    measured: bool = True
    precision: Precision = "auto"
    device: Device = "auto"


@dataclass(frozen=True, eq=False)
class MeasureRequest(Request[LabelMap]):
    """Measure labels again, as after a correction by hand; see :func:`napari_sdmae.inference.measuring.measure`.

    Attributes
    ----------
    image
        Pixels under the labels, at the resolution of the labels or of the source; None leaves the stains out.
    """

    label_map: LabelMap
    image: RGB | None = None


@dataclass(frozen=True)
class ExportResult:
    """The files that were written, and how long it took."""

    files: tuple[Path, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class ExportRequest(Request[ExportResult]):
    """Write labels to `path`; see :func:`napari_sdmae.io.labels.registry.export_labels`."""

    label_map: LabelMap
    path: Path
    format: str | None = None
    object_type: ObjectType | None = None
    bounds: str | None = None
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class ImportResult:
    """The labels that were read, and what was left out or is not as the file states it, a line for each."""

    label_map: LabelMap
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportRequest(Request[ImportResult]):
    """Read the labels in a file or folder that was exported, or that QuPath wrote."""

    path: Path


@dataclass(frozen=True, eq=False)
class SaveCorrectionsRequest(Request[Path]):
    """Add a picture with its corrected labels to a labelled folder; the result is the file of the picture.

    Attributes
    ----------
    image
        uint8 (H, W, 3), as large as the labels.
    name
        Which part of which picture it is.
    classes
        Of the folder. Where one has value 0, unlabelled pixels are of it; else they are not learned from.
    head
        Folder of the head that predicted the labels before they were corrected; None if none did.
    replace
        Whether an earlier correction of the same name is replaced; else it fails with ``ErrorCode.ALREADY_SAVED``.
    """

    label_map: LabelMap
    image: RGB
    folder: Path
    name: str
    classes: tuple[LabelClass, ...]
    head: str | None = None
    replace: bool = False
