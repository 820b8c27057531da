"""The answers of the warm worker about heads: what one is, what it says about a field, what its labels measure.

As in :mod:`napari_sdmae.worker.handlers.views`, questions and answers hold plain values and NumPy arrays only. torch is loaded by
``segment`` alone.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.base import Precision
from napari_sdmae.inference import measuring
from napari_sdmae.io.images.field import Region, as_rgb, check_size_of
from napari_sdmae.io.images.pictures import ArrayPicture, FilePicture, Part, Picture
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import find_model, fingerprint
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.serialization import label_map_from_answer, label_map_to_answer
from napari_sdmae.notices import PREDICTION

Answer = dict[str, Any]


def head_info(head: str, device: str = "auto") -> Answer:
    """Describe a head: name, task, classes, scale, tile_size, encoder, decoder, metrics, provenance, folder, modified."""
    spec, folder = read_head_spec(head), find_model(head)
    return {
        "name": folder.parent.name if folder.name == "model" else folder.name,
        "folder": str(folder),
        "modified": fingerprint(folder),
        "task": spec.task,
        "classes": [one.model_dump() for one in spec.classes],
        "mpp": spec.mpp,
        "tile_size": spec.tile_size,
        "patch_size": spec.encoder.patch_size,
        "encoder": spec.encoder.architecture,
        "settings": spec.head.model_dump(mode="json"),
        "metrics": spec.metrics,
        "provenance": spec.provenance,
    }


def segment(
    head: str,
    image: NDArray[np.uint8] | str | None = None,
    path: str | None = None,
    region: Region | None = None,
    mpp: float | None = None,
    probabilities: bool = False,
    cell_expansion_um: float = 0.0,
    smallest_um2: float | None = None,
    step: int = 1,
    measured: bool = True,
    precision: Precision = "auto",
    device: str = "auto",
) -> Answer:
    """Return what a head of any task says about a field, or a region of it.

    Parameters
    ----------
    head
        Run folder or head folder.
    image, path
        Pixels, or a file.
    region
        Row, column, height, width in px; None: all.
    mpp
        µm per pixel; None: as the file states.
    probabilities
        Whether they are sent too: uint8 (C, rows, columns), 255 = 1, with the names of the C as ``channels``.
    cell_expansion_um, smallest_um2, step
        As in :func:`napari_sdmae.inference.prediction.predict`.
    measured
        Whether objects, or classes, are measured.

    Returns
    -------
    dict
        The label map (:func:`napari_sdmae.labels.serialization.label_map_from_answer` makes it from the answer; its origin
        counts from the corner of the field or the file), ``probabilities``, ``channels``, ``boxes`` (left, top, right, bottom,
        value, score), ``head``, ``task``, ``precision``, ``seen_mpp``, ``seconds``, ``warnings`` and ``note``.
    """
    import torch

    from napari_sdmae.devices.precision import autocast, select_precision
    from napari_sdmae.devices.select import select_device
    from napari_sdmae.inference.prediction.predict import predict_picture
    from napari_sdmae.worker.cache import MEMORY

    start = perf_counter()
    described, picture = head_info(head), _picture(image, path, mpp, region)
    place = torch.device(select_device(device).device)
    model = MEMORY.head(Path(described["folder"]), described["modified"], str(place))
    chosen = select_precision(precision, place, training=False).precision
    loaded = perf_counter()
    found = predict_picture(
        model,
        picture,
        probabilities=probabilities,
        cell_expansion_um=cell_expansion_um,
        smallest=smallest_um2,
        step=step,
        autocast=autocast(place, chosen),
    )
    predicted = perf_counter()
    label_map = measuring.measure(found.label_map, picture) if measured else found.label_map
    return {
        **label_map_to_answer(label_map),
        "probabilities": None if found.probabilities is None else _as_bytes(found.probabilities),
        "channels": list(found.channels),
        "boxes": [asdict(box) for box in found.boxes],
        "head": described,
        "task": described["task"],
        "precision": chosen,
        "seen_mpp": found.seen_mpp,
        "warnings": [*found.warnings, *picture.notes],
        "note": PREDICTION,
        "seconds": {"load": loaded - start, "predict": predicted - loaded, "measure": perf_counter() - predicted},
    }


def measure(
    label_map: dict[str, Any],
    image: NDArray[np.uint8] | str | None = None,
    path: str | None = None,
    region: Region | None = None,
    device: str = "auto",
) -> Answer:
    """Measure labels again, as after they were corrected by hand; see :func:`napari_sdmae.inference.measuring.measure`.

    Parameters
    ----------
    label_map
        From an answer of ``segment``, or of :func:`napari_sdmae.labels.serialization.label_map_to_answer`.
    image, path
        Pixels, or a file; neither leaves the stains out.
    region
        Where the labels lie in the image, row, column, height, width in px; None: the image is as large as the labels, or the
        place that the labels name.
    """
    labels = label_map_from_answer(label_map)
    if image is None and path is None:
        return label_map_to_answer(measuring.measure(labels))
    whole = _picture(image, path, labels.mpp, None)
    return label_map_to_answer(measuring.measure(labels, Part(whole, region) if region is not None else _under(whole, labels)))


def _picture(image: NDArray[np.uint8] | str | None, path: str | None, mpp: float | None, region: Region | None) -> Picture:
    """Return the pixels that are meant; of a file the pixels of the region are read at once, as they are gone through twice."""
    file = path or (image if isinstance(image, str) else None)
    if file is None and image is None:
        raise ValueError("neither image nor path was given; give one of them")
    whole: Picture = ArrayPicture(as_rgb(np.asarray(image)), mpp) if file is None else FilePicture(Path(file), mpp)
    part = whole if region is None else Part(whole, region)
    check_size_of(part.height, part.width)
    return ArrayPicture(part.read(0, 0, part.height, part.width), part.mpp, part.source, part.corner, part.notes)


def _under(whole: Picture, labels: LabelMap) -> Picture:
    """Return the part of a picture that lies under the labels."""
    size = labels.labels.shape
    if (whole.height, whole.width) == size:
        return whole
    row, column = (round(at) for at in labels.origin)
    height, width = min(round(size[0] * labels.step), whole.height - row), min(round(size[1] * labels.step), whole.width - column)
    return Part(whole, (row, column, height, width))


def _as_bytes(probabilities: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Return probabilities in [0, 1] as 0 to 255, one channel after the other."""
    result = np.empty(probabilities.shape, np.uint8)
    for channel, values in zip(result, probabilities, strict=True):
        channel[...] = np.rint(values.astype(np.float32) * 255)
    return result
