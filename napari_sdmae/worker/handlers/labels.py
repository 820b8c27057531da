"""Files of labels: export, reading back, corrections as training data.

torch is not needed. The worker does it as writing 50,000 outlines keeps Python busy for seconds, in which a viewer would stand
still.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from napari_sdmae import __version__
from napari_sdmae.data.labelled.corrections import add_correction
from napari_sdmae.data.labelled.write import LabelledPicture
from napari_sdmae.io.labels import registry as files
from napari_sdmae.worker.protocol.labels import (
    ExportRequest,
    ExportResult,
    ImportRequest,
    ImportResult,
    SaveCorrectionsRequest,
)


def export_labels(request: ExportRequest) -> ExportResult:
    """Write labels to a file or folder; see :func:`napari_sdmae.io.labels.registry.export_labels`."""
    start = perf_counter()
    written = files.export_labels(
        request.label_map,
        request.path,
        format=request.format,
        object_type=request.object_type,
        bounds=request.bounds,
        overwrite=request.overwrite,
    )
    return ExportResult(tuple(written), perf_counter() - start)


def import_labels(request: ImportRequest) -> ImportResult:
    """Return the labels in a file or folder, with what the reader warns of: nobody sees the console of the worker."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        label_map = files.import_labels(request.path)
    lines = (str(one.message) for one in caught if one.category is UserWarning)  # others are for programmers
    return ImportResult(label_map, tuple(dict.fromkeys(lines)))


def save_corrections(request: SaveCorrectionsRequest) -> Path:
    """Add a picture with its corrected labels to a labelled folder, as :mod:`napari_sdmae.data.labelled.corrections` does.

    Raises
    ------
    ValueError
        If the picture is not as large as the labels.
    AlreadySavedError
        If there is a correction of this name, which is not to be replaced.
    """
    labels = request.label_map
    picture = LabelledPicture(
        request.name,
        request.image,
        labels.labels,
        dict(labels.class_of),
        slide=Path(labels.source).stem,
        mpp=labels.label_mpp,
    )
    background = any(one.value == 0 for one in request.classes)
    provenance = {
        "source": labels.source,
        "origin": list(labels.origin),
        "step": labels.step,
        "mpp": labels.mpp,
        "head": request.head,
        "corrected": datetime.now(UTC).isoformat(timespec="seconds"),
        "written_by": f"napari-sdmae {__version__}",
    }
    return add_correction(
        picture,
        request.folder,
        request.classes,
        task="instances" if labels.instances else "segmentation",
        unpainted=None if background or labels.instances else 255,
        provenance=provenance,
        replace=request.replace,
    )
