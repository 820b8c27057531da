"""Attention maps of fields, from what is in memory."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from napari_sdmae.devices.select import select_device
from napari_sdmae.inference.attention.field_map import choose_downsample, map_field
from napari_sdmae.inference.attention.result import AttentionResult
from napari_sdmae.io.images.field import as_rgb, check_pixels
from napari_sdmae.io.model_info.info import model_info
from napari_sdmae.worker.cache import MODEL_CACHE
from napari_sdmae.worker.protocol.pictures import AttentionRequest


def attention(request: AttentionRequest) -> AttentionResult:
    """Return a map of a field; only a new field or model is encoded."""
    start, field, info = perf_counter(), as_rgb(request.image), model_info(request.model)
    check_pixels(field)
    size = (field.shape[0], field.shape[1])
    factor = choose_downsample(size, info.patch_size)
    device = select_device(request.device).device
    MODEL_CACHE.encoder(info, device)
    loaded = perf_counter()
    state, cached = MODEL_CACHE.field(info, device, field, factor)
    encoded = perf_counter()
    result = map_field(
        state,
        info,
        size,
        method=request.method,
        block=request.block,
        head=request.head,
        query=request.query,
        downsample=factor,
        mpp=request.mpp,
        colours=request.colours,
    )
    seconds = {"load": loaded - start, "encode": encoded - loaded, "map": perf_counter() - encoded}
    return replace(result, cached=cached, seconds=seconds)
