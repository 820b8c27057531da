"""What viewer and worker say to each other: one frozen request and one result for each kind of work.

Torch-free: the viewer makes the requests and unpickles the results. :func:`handle` finds the handler by the type of the request.
"""

from napari_sdmae.moved import renamed
from napari_sdmae.worker.protocol.base import ErrorCode, Request, ResultT, WorkerError
from napari_sdmae.worker.protocol.dispatch import HANDLERS, handle
from napari_sdmae.worker.protocol.labels import (
    ExportRequest,
    ExportResult,
    ImportRequest,
    ImportResult,
    MeasureRequest,
    SaveCorrectionsRequest,
    SegmentRequest,
    SegmentResult,
)
from napari_sdmae.worker.protocol.pictures import (
    AttentionRequest,
    DevicesRequest,
    DevicesResult,
    ReconstructRequest,
    ReconstructResult,
)
from napari_sdmae.worker.protocol.scribbles import SaveScribblesRequest, ScribbleRequest, ScribbleResult
from napari_sdmae.worker.protocol.training import (
    ContactSheetRequest,
    InspectLabelledRequest,
    InspectRequest,
    TrainingMemoryRequest,
)

__all__ = [
    "HANDLERS",
    "AttentionRequest",
    "ContactSheetRequest",
    "DevicesRequest",
    "DevicesResult",
    "ErrorCode",
    "ExportRequest",
    "ExportResult",
    "ImportRequest",
    "ImportResult",
    "InspectLabelledRequest",
    "InspectRequest",
    "MeasureRequest",
    "ReconstructRequest",
    "ReconstructResult",
    "Request",
    "ResultT",
    "SaveCorrectionsRequest",
    "SaveScribblesRequest",
    "ScribbleRequest",
    "ScribbleResult",
    "SegmentRequest",
    "SegmentResult",
    "TrainingMemoryRequest",
    "WorkerError",
    "handle",
]


__getattr__ = renamed(__name__, QueryError="WorkerError")
