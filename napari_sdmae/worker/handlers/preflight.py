"""What is known before training. torch is loaded for the memory and the contact sheet alone, not for a look at the images."""

from __future__ import annotations

from napari_sdmae.data.labelled import inspect as labelled_images
from napari_sdmae.data.labelled.inspect import LabelledInspection
from napari_sdmae.data.tiles import inspect as images
from napari_sdmae.data.tiles.inspect import Inspection
from napari_sdmae.runs.preflight import ContactSheet, MemoryNeed
from napari_sdmae.worker.protocol.training import (
    ContactSheetRequest,
    InspectLabelledRequest,
    InspectRequest,
    TrainingMemoryRequest,
)


def inspect(request: InspectRequest) -> Inspection:
    """Look through a folder of images; see :func:`napari_sdmae.data.tiles.inspect.inspect`."""
    return images.inspect(request.settings.data, request.settings.tiles)


def inspect_labelled(request: InspectLabelledRequest) -> LabelledInspection:
    """Look through labelled images; see :mod:`napari_sdmae.data.labelled.inspect`."""
    return labelled_images.inspect_labelled(request.settings)


def training_memory(request: TrainingMemoryRequest) -> MemoryNeed:
    """Estimate the memory of training; see :mod:`napari_sdmae.training.pretraining.memory`."""
    from napari_sdmae.training.pretraining.memory import memory_need

    return memory_need(request.settings, request.tiles)


def contact_sheet(request: ContactSheetRequest) -> ContactSheet:
    """Draw tiles as training would see them; see :mod:`napari_sdmae.inference.contact_sheet`."""
    from napari_sdmae.inference.contact_sheet import draw_contact_sheet

    return draw_contact_sheet(request.settings, request.tiles, request.seed)
