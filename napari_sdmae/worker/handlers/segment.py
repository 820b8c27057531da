"""What a head predicts in a field, and what its labels measure. torch is loaded by :func:`segment` alone."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.inference import measuring
from napari_sdmae.io.images.field import as_rgb, check_pixels
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import find_model, fingerprint
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.worker.protocol.labels import MeasureRequest, SegmentRequest, SegmentResult


def segment(request: SegmentRequest) -> SegmentResult:
    """Return what a head of any task predicts in a field."""
    import torch

    from napari_sdmae.devices.precision import autocast, select_precision
    from napari_sdmae.devices.select import select_device
    from napari_sdmae.inference.prediction.predict import predict_picture
    from napari_sdmae.worker.cache import MODEL_CACHE

    start = perf_counter()
    spec, folder = read_head_spec(request.head), find_model(request.head)
    picture = _picture(request.image, request.mpp)
    device = torch.device(select_device(request.device).device)
    model = MODEL_CACHE.head(folder, fingerprint(folder), str(device))
    precision = select_precision(request.precision, device, training=False).precision
    loaded = perf_counter()
    found = predict_picture(
        model,
        picture,
        probabilities=request.probabilities,
        cell_expansion_um=request.cell_expansion_um,
        smallest=request.smallest_um2,
        flips=request.flips,
        step=request.step,
        autocast=autocast(device, precision),
    )
    predicted = perf_counter()
    label_map = measuring.measure(found.label_map, picture) if request.measured else found.label_map
    return SegmentResult(
        label_map=label_map,
        probabilities=None if found.probabilities is None else _as_bytes(found.probabilities),
        channels=found.channels,
        boxes=found.boxes,
        head=spec,
        head_name=folder.parent.name if folder.name == "model" else folder.name,
        head_folder=str(folder),
        precision=precision,
        seen_mpp=found.seen_mpp,
        warnings=(*found.warnings, *picture.notes),
        seconds={"load": loaded - start, "predict": predicted - loaded, "measure": perf_counter() - predicted},
    )


def measure(request: MeasureRequest) -> LabelMap:
    """Measure labels again; see :func:`napari_sdmae.inference.measuring.measure`."""
    labels, image = request.label_map, request.image
    return measuring.measure(labels, None if image is None else _picture(image, labels.mpp))


def _picture(image: NDArray[np.uint8], mpp: float | None) -> ArrayPicture:
    field = as_rgb(image)
    check_pixels(field)
    return ArrayPicture(field, mpp)


def _as_bytes(probabilities: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Return probabilities in [0, 1] as 0 to 255, one channel after the other."""
    result = np.empty(probabilities.shape, np.uint8)
    for channel, values in zip(result, probabilities, strict=True):
        channel[...] = np.rint(values.astype(np.float32) * 255)
    return result
