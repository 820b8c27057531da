"""From the type of a request to its handler, in the child process, where the heavy imports happen."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

from napari_sdmae.worker.protocol.base import Request, ResultT, WorkerError
from napari_sdmae.worker.protocol.labels import (
    ExportRequest,
    ImportRequest,
    MeasureRequest,
    SaveCorrectionsRequest,
    SegmentRequest,
)
from napari_sdmae.worker.protocol.pictures import AttentionRequest, DevicesRequest, ReconstructRequest
from napari_sdmae.worker.protocol.scribbles import SaveScribblesRequest, ScribbleRequest
from napari_sdmae.worker.protocol.training import (
    ContactSheetRequest,
    InspectLabelledRequest,
    InspectRequest,
    TrainingMemoryRequest,
)

ROOM = "napari_sdmae.worker.handlers"
HANDLERS: dict[type[Request[Any]], str] = {
    AttentionRequest: "attention:attention",
    ContactSheetRequest: "preflight:contact_sheet",
    DevicesRequest: "devices:devices",
    ExportRequest: "labels:export_labels",
    ImportRequest: "labels:import_labels",
    InspectLabelledRequest: "preflight:inspect_labelled",
    InspectRequest: "preflight:inspect",
    MeasureRequest: "segment:measure",
    ReconstructRequest: "reconstruct:reconstruct",
    SaveCorrectionsRequest: "labels:save_corrections",
    SaveScribblesRequest: "scribbles:save_scribbles",
    ScribbleRequest: "scribbles:scribble",
    SegmentRequest: "segment:segment",
    TrainingMemoryRequest: "preflight:training_memory",
}
"""Module and function of :data:`ROOM` for each type of request; imported when the first such request comes."""


def handle(request: Request[ResultT]) -> ResultT:
    """Do what `request` says.

    Raises
    ------
    WorkerError
        Whatever goes wrong.
    """
    try:
        handler: Callable[[Request[ResultT]], ResultT] = resolve_name(f"{ROOM}.{HANDLERS[type(request)]}")
        return handler(request)
    except Exception as error:
        raise WorkerError.of(error) from None
