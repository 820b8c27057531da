"""The answers of the warm worker about files of labels: export, reading back, corrections as training data.

Like those of :mod:`napari_sdmae.worker.handlers.views`, questions and answers are plain values and NumPy arrays. torch is not
needed. They are asked of the worker as writing 50,000 outlines keeps Python busy for seconds, in which a viewer would stand
still.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.data.labelled.corrections import add_correction
from napari_sdmae.data.labelled.write import LabelledPicture
from napari_sdmae.io.labels import registry as files
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.labels.serialization import label_map_from_answer, label_map_to_answer

Answer = dict[str, Any]


def export_labels(
    label_map: Mapping[str, Any],
    path: str,
    format: str | None = None,
    object_type: str | None = None,
    bounds: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Answer:
    """Write labels to `path`; see :func:`napari_sdmae.io.labels.registry.export_labels`. Returns ``files`` and ``seconds``."""
    start = perf_counter()
    options: dict[str, Any] = {"object_type": object_type, "bounds": bounds}
    given = {name: value for name, value in options.items() if value is not None}
    written = files.export_labels(label_map_from_answer(label_map), Path(path), format=format, overwrite=overwrite, **given)
    return {"files": [str(one) for one in written], "seconds": perf_counter() - start}


def import_labels(path: str, device: str = "auto") -> Answer:
    """Return the label map in a file or folder that was exported, or that QuPath wrote."""
    return label_map_to_answer(files.import_labels(Path(path)))


def save_corrections(
    label_map: Mapping[str, Any],
    image: NDArray[np.uint8],
    folder: str,
    name: str,
    classes: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    slide: str = "",
    replace: bool = False,
    device: str = "auto",
) -> Answer:
    """Add a picture with its corrected labels to a labelled folder, as :mod:`napari_sdmae.data.labelled.corrections` does.

    Where the classes have one of value 0, unlabelled pixels are of it; else they are not learned.

    Raises
    ------
    ValueError
        If the picture is not as large as the labels.
    """
    corrected = label_map_from_answer(label_map)
    known = [LabelClass.model_validate(one) for one in classes]
    background = any(one.value == 0 for one in known)
    picture = LabelledPicture(
        name, np.asarray(image), corrected.labels, dict(corrected.class_of), slide=slide, mpp=corrected.label_mpp
    )
    written = add_correction(
        picture,
        Path(folder),
        known,
        task="instances" if corrected.instances else "segmentation",
        unpainted=None if background or corrected.instances else 255,
        provenance=provenance,
        replace=replace,
    )
    return {"file": str(written), "folder": folder}
