"""Masked reconstruction of fields."""

from __future__ import annotations

from time import perf_counter

from napari_sdmae.devices.select import select_device
from napari_sdmae.inference import reconstruction
from napari_sdmae.io.images.field import as_rgb, check_pixels
from napari_sdmae.io.model_info.info import model_info
from napari_sdmae.worker.cache import MODEL_CACHE
from napari_sdmae.worker.protocol.pictures import ReconstructRequest, ReconstructResult


def reconstruct(request: ReconstructRequest) -> ReconstructResult:
    """Return masked picture, reconstruction and error of a field; see :func:`napari_sdmae.inference.reconstruct`."""
    start, field, info = perf_counter(), as_rgb(request.image), model_info(request.model)
    check_pixels(field)
    network = MODEL_CACHE.model(info, select_device(request.device).device)
    loaded = perf_counter()
    found = reconstruction.reconstruct(
        network,
        field,
        mask_ratio=request.mask_ratio,
        seed=request.seed,
        target_normalisation=info.target_normalisation,
    )
    seconds = {"load": loaded - start, "reconstruct": perf_counter() - loaded}
    return ReconstructResult(
        masked=found.masked,
        reconstruction=found.reconstruction,
        error=found.error,
        mean_error=found.mean_error,
        mask_ratio=request.mask_ratio,
        seed=request.seed,
        model=info,
        seconds=seconds,
    )
