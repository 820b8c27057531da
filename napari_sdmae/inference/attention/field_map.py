"""The map of a field with its model, place and warnings: the Attention dock shows it, ``sdmae attention`` writes it."""

from __future__ import annotations

from typing import Literal

from napari_sdmae.config.attention import NEED_PATCH, Method
from napari_sdmae.inference.attention.encode import AttentionState
from napari_sdmae.inference.attention.maps import attention_maps
from napari_sdmae.inference.attention.result import AttentionResult, ColourBasis, Head
from napari_sdmae.io.images.field import check_patches, fitting_downsample
from napari_sdmae.io.model_info.info import ModelInfo, fingerprint
from napari_sdmae.notices import scale_notes


def choose_downsample(size: tuple[int, int], patch: int, requested: int | Literal["auto"] = "auto") -> int:
    """Return by how much a field of `size` (rows, columns) px is reduced for an encoder with patches of `patch` px.

    Raises
    ------
    InvalidFieldError
        If the field has less than one patch, or too many with the factor `requested`.
    """
    factor = fitting_downsample(size, patch) if requested == "auto" else requested
    check_patches(*size, patch, factor)
    return factor


def map_field(
    state: AttentionState,
    model: ModelInfo,
    size: tuple[int, int],
    *,
    method: Method = "received",
    block: int = -1,
    head: Head = "mean",
    query: tuple[float, float] | None = None,
    downsample: int = 1,
    mpp: float | None = None,
    colours: ColourBasis | None = None,
) -> AttentionResult:
    """Return a map of an encoded field, and what belongs beside it.

    Parameters
    ----------
    state
        The field of `size` (rows, columns) px, reduced by `downsample`, as the encoder of `model` sees it.
    method, block, head, query
        See :func:`napari_sdmae.inference.attention_maps`; without a query, the centre.
    mpp
        µm per pixel of the field; None if unknown.
    colours
        Of an earlier field. Ignored if the model was trained on since: they would colour its tokens at random.

    Raises
    ------
    ValueError
        If method, block or head do not exist in this model.
    """
    if query is None and method in NEED_PATCH:
        query = (size[0] - 1) / 2, (size[1] - 1) / 2
    now = fingerprint(model.folder)
    basis = colours.pca if colours is not None and colours.fingerprint == now else None
    found = attention_maps(state, method=method, block=block, head=head, query=query, pca=basis)
    return AttentionResult(
        map=found,
        model=model,
        blocks=state.blocks,
        heads=state.heads,
        downsample=downsample,
        mpp=mpp,
        colours=None if found.pca is None else ColourBasis(found.pca, now),
        warnings=tuple(scale_notes(model.mpp, mpp and mpp * downsample, "choose a smaller region")),
    )
