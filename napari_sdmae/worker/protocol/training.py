"""Requests before training: a look at the images, the memory it takes, tiles as the model will see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.labelled.inspect import LabelledInspection
from napari_sdmae.data.tiles.inspect import Inspection
from napari_sdmae.worker.protocol.base import Request


@dataclass(frozen=True)
class InspectRequest(Request[Inspection]):
    """Look through the images that pre-training with `settings` reads."""

    settings: PretrainConfig


@dataclass(frozen=True)
class InspectLabelledRequest(Request[LabelledInspection]):
    """Look through the labelled images that fine-tuning with `settings` reads."""

    settings: FinetuneConfig


@dataclass(frozen=True)
class TrainingMemoryResult:
    """What training takes on its device, in bytes.

    Attributes
    ----------
    needed, free
        Bytes.
    device
        cpu, cuda or mps.
    tiles_at_once
        How many fit; 0 if not even one does.
    line
        The same in words, with what to do where it is too much.
    """

    needed: int
    free: int
    device: str
    tiles_at_once: int
    line: str


@dataclass(frozen=True)
class TrainingMemoryRequest(Request[TrainingMemoryResult]):
    """Estimate the memory of pre-training with `settings` on `tiles` tiles, where their number is known."""

    settings: PretrainConfig
    tiles: int | None = None


@dataclass(frozen=True, eq=False)
class ContactSheetResult:
    """Tiles as training would see them.

    Attributes
    ----------
    tiles, masked
        uint8 (N, S, S, 3).
    mask
        bool (N, rows, columns), True = masked.
    files
        Name of each tile's image.
    tile_size, patch_size
        Pixels.
    """

    tiles: NDArray[np.uint8]
    masked: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    files: tuple[str, ...]
    tile_size: int
    patch_size: int


@dataclass(frozen=True)
class ContactSheetRequest(Request[ContactSheetResult]):
    """Draw a few augmented and masked tiles; None: as many, and with the seed, as the settings say."""

    settings: PretrainConfig
    tiles: int | None = None
    seed: int | None = None
