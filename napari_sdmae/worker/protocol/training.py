"""Requests before training: a look at the images, the memory it takes, tiles as the model will see them."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.labelled.inspect import LabelledInspection
from napari_sdmae.data.tiles.inspect import Inspection
from napari_sdmae.runs.preflight import ContactSheet, MemoryNeed
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
class TrainingMemoryRequest(Request[MemoryNeed]):
    """Estimate the memory of pre-training with `settings` on `tiles` tiles, where their number is known."""

    settings: PretrainConfig
    tiles: int | None = None


@dataclass(frozen=True)
class ContactSheetRequest(Request[ContactSheet]):
    """Draw a few augmented and masked tiles; None: as many, and with the seed, as the settings say."""

    settings: PretrainConfig
    tiles: int | None = None
    seed: int | None = None
