"""The answers of the warm worker, one function per kind of question.

The keyword arguments of a function are the keys of the question, the keys of the returned dictionary those of the answer;
both hold plain values and NumPy arrays only. Positions are pixels of the field that was sent.
"""

from __future__ import annotations

from dataclasses import asdict
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sdmae.config.attention import NEED_PATCH, Method
from napari_sdmae.config.pretrain import MASK_RATIO, PretrainConfig
from napari_sdmae.devices.select import list_devices, select_device
from napari_sdmae.inference import reconstruction
from napari_sdmae.inference.attention import maps
from napari_sdmae.inference.attention.encode import encode_field
from napari_sdmae.inference.attention.token_pca import PCABasis
from napari_sdmae.inference.contact_sheet import draw_contact_sheet
from napari_sdmae.io.images.field import MAX_PIXELS, Region, check_patches, fitting_downsample
from napari_sdmae.io.images.pictures import Picture, picture_of, read_field
from napari_sdmae.io.model_info.info import WEIGHTS, ModelInfo, fingerprint, model_info
from napari_sdmae.io.model_info.safetensors_header import tensor_shapes
from napari_sdmae.notices import ATTENTION, reconstruction_note, scale_notes
from napari_sdmae.worker.cache import MEMORY

Answer = dict[str, Any]

_memory = MEMORY


def info(model: str, device: str = "auto") -> Answer:
    """Describe a model: name, encoder, tile_size, patch_size, depth, heads, mpp, target_normalisation, has_decoder, modified."""
    return _described(model_info(model))


def devices(device: str = "auto") -> Answer:
    """List the devices of this machine and the one that auto means."""
    return {"devices": list_devices(), "default": select_device().device, "threads": torch.get_num_threads()}


def release(device: str = "auto") -> Answer:
    """Forget all models and fields."""
    _memory.clear()
    return {"released": True}


def reconstruct(
    model: str,
    image: NDArray[np.uint8] | str,
    region: Region | None = None,
    mask_ratio: float = MASK_RATIO,
    seed: int = 0,
    target_normalisation: str | None = None,
    device: str = "auto",
) -> Answer:
    """Return masked, reconstruction, error and mask of a field; see :func:`napari_sdmae.inference.reconstruct`."""
    start = perf_counter()
    described = model_info(model)
    field = read_field(picture_of(image, region))
    network = _memory.model(described, select_device(device).device)
    loaded = perf_counter()
    how = target_normalisation or described.target_normalisation
    result = reconstruction.reconstruct(network, field, mask_ratio=mask_ratio, seed=seed, target_normalisation=how)
    return {
        **{name: getattr(result, name) for name in ("masked", "reconstruction", "error", "mask", "mean_error")},
        "tiles": ceil(field.shape[0] / described.tile_size) * ceil(field.shape[1] / described.tile_size),
        "mask_ratio": mask_ratio,
        "seed": seed,
        "target_normalisation": how,
        "note": reconstruction_note(how),
        "model": _described(described),
        "seconds": {"load": loaded - start, "reconstruct": perf_counter() - loaded},
    }


def attention(
    model: str,
    image: NDArray[np.uint8] | str | Picture,
    region: Region | None = None,
    method: Method = "received",
    block: int = -1,
    head: maps.Head = "mean",
    query: tuple[float, float] | None = None,
    downsample: int | str = "auto",
    mpp: float | None = None,
    pca_basis: dict[str, Any] | None = None,
    device: str = "auto",
) -> Answer:
    """Return a map of a field; see :func:`napari_sdmae.inference.attention_maps`. Without a query, the centre.

    A field of more than ``fields.MAX_PIXELS`` is read in parts: `image` may be a picture that is open.
    """
    start = perf_counter()
    described = model_info(model)
    picture = picture_of(image, region)
    size = (picture.height, picture.width)
    factor = fitting_downsample(size, described.patch_size) if downsample == "auto" else int(downsample)
    check_patches(*size, described.patch_size, factor)
    place = select_device(device).device
    encoder = _memory.encoder(described, place)
    loaded = perf_counter()
    if size[0] * size[1] > MAX_PIXELS:  # read in parts, and too large to be remembered by its pixels
        state, known = encode_field(encoder, picture, downsample=factor), False
    else:
        state, known = _memory.field(described, place, read_field(picture), factor)
    encoded = perf_counter()
    if query is None and method in NEED_PATCH:
        query = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    answer = maps.attention_maps(state, method=method, block=block, head=head, query=query, pca=_basis(pca_basis, described))
    seconds = {"load": loaded - start, "encode": encoded - loaded, "map": perf_counter() - encoded}
    return {
        **_map_answer(answer, mpp),
        "pca_basis": None if answer.pca is None else {**asdict(answer.pca), "modified": fingerprint(described.folder)},
        "blocks": state.blocks,
        "heads": state.heads,
        "downsample": factor,
        "cached": known,
        "mpp": mpp,
        "model": _described(described),
        "warnings": scale_notes(described.mpp, mpp and mpp * factor),
        "seconds": seconds,
    }


def contact_sheet(settings: dict[str, Any], tiles: int | None = None, seed: int | None = None, device: str = "auto") -> Answer:
    """Return a few augmented and masked tiles as training with `settings` would see them."""
    return draw_contact_sheet(PretrainConfig.model_validate(settings), tiles, seed)


def _map_answer(answer: maps.AttentionMap, mpp: float | None) -> Answer:
    """Return a map, its place on the field and its numbers."""
    half = (answer.grid.cell - 1) / 2
    return {
        "values": answer.values,
        "grid": (answer.grid.rows, answer.grid.columns),
        "scale": (answer.grid.cell, answer.grid.cell),
        "translate": (half, half),
        "method": answer.method,
        "block": answer.block,
        "head": answer.head,
        "query_patch": answer.query,
        "query": None if answer.query is None else answer.grid.centre(answer.query),
        "statistics": answer.statistics(mpp),
        "variance": None if answer.pca is None else answer.pca.variance.tolist(),
        "note": ATTENTION,
    }


def _basis(given: dict[str, Any] | None, model: ModelInfo) -> PCABasis | None:
    """Return the basis of an earlier answer, or None if the model was trained on since: its colours would mean nothing."""
    now = fingerprint(model.folder)
    if given is None or given.get("modified", now) != now:
        return None
    return PCABasis(**{name: value for name, value in given.items() if name != "modified"})


def _described(model: ModelInfo) -> Answer:
    """Return a model as plain values."""
    tensors = tensor_shapes(model.folder / WEIGHTS)
    class_token = "cls_token" in tensors or "encoder.cls_token" in tensors
    folder = str(model.folder)
    return {**asdict(model), "folder": folder, "model": folder, "class_token": class_token, "modified": fingerprint(model.folder)}
