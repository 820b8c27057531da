"""Requests about the picture in the viewer: devices to compute on, reconstruction, attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.attention import Method
from napari_sdmae.config.base import Device
from napari_sdmae.config.pretrain import MASK_RATIO
from napari_sdmae.devices.info import DeviceInfo
from napari_sdmae.inference.attention.result import AttentionResult, ColourBasis, Head
from napari_sdmae.io.model_info.info import ModelInfo
from napari_sdmae.typing import RGB
from napari_sdmae.worker.protocol.base import Request


@dataclass(frozen=True)
class DevicesResult:
    """The devices of this machine, the kind that ``auto`` means, and the threads of its CPU."""

    devices: tuple[DeviceInfo, ...]
    default: str
    threads: int


@dataclass(frozen=True)
class DevicesRequest(Request[DevicesResult]):
    """List the devices; it also lets the worker import torch ahead of the first real work."""


@dataclass(frozen=True, eq=False)
class ReconstructResult:
    """Pictures of the size of the field; see :class:`napari_sdmae.inference.reconstruction.Reconstruction`.

    Attributes
    ----------
    masked, reconstruction
        uint8 (H, W, 3).
    error
        float32 (H, W) in [0, 1].
    mean_error
        Of the masked pixels.
    mask_ratio, seed
        As requested.
    model
        What filled them in.
    seconds
        Time to load the model and to reconstruct.
    """

    masked: RGB
    reconstruction: RGB
    error: NDArray[np.float32]
    mean_error: float
    mask_ratio: float
    seed: int
    model: ModelInfo
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class ReconstructRequest(Request[ReconstructResult]):
    """Hide patches of a field, uint8 (H, W, 3), and let a model fill them in."""

    model: str
    image: RGB
    mask_ratio: float = MASK_RATIO
    seed: int = 0
    device: Device = "auto"


@dataclass(frozen=True, eq=False)
class AttentionRequest(Request[AttentionResult]):
    """Map the attention of a field, uint8 (H, W, 3); see :func:`napari_sdmae.inference.attention_maps`.

    Attributes
    ----------
    query
        (row, column) in pixels of the field; None: the centre.
    mpp
        µm per pixel of the field; None if unknown.
    colours
        Of an earlier result, so that colours compare; None fits them to this field.
    """

    model: str
    image: RGB
    method: Method = "received"
    block: int = -1
    head: Head = "mean"
    query: tuple[float, float] | None = None
    mpp: float | None = None
    colours: ColourBasis | None = None
    device: Device = "auto"
