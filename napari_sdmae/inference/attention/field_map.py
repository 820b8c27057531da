"""The map of a field with its model, place and warnings: the Attention dock shows it, ``sdmae attention`` writes it."""

from __future__ import annotations

from typing import Literal

from napari_sdmae.inference.attention.encode import AttentionState
from napari_sdmae.inference.attention.maps import attention_maps
from napari_sdmae.inference.attention.result import AttentionResult, ColourBasis, Head, Method
from napari_sdmae.io.images.field import check_patches, fitting_downsample
from napari_sdmae.io.model_info.info import ModelInfo, fingerprint

NEEDS_QUERY = ("query", "similarity")
"""Methods that show one patch: without a query, the one in the centre of the field."""


def choose_downsample(size: tuple[int, int], patch: int, requested: int | Literal["auto"] = "auto") -> int:
    """Return by how much a field of `size` (rows, columns) px is reduced for an encoder with patches of `patch` px.

    Raises
    ------
    FieldError
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
    if query is None and method in NEEDS_QUERY:
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
        warnings=_scale_warning(model, mpp, downsample),
    )


def _scale_warning(model: ModelInfo, mpp: float | None, downsample: int) -> tuple[str, ...]:
    """Return a warning if the field is shown to the model at another scale than it was trained at."""
    if model.mpp is None or mpp is None or 0.67 < mpp * downsample / model.mpp < 1.5:
        return ()
    return (f"the model was trained at {model.mpp:.3g} µm/px and sees this field at {mpp * downsample:.3g} µm/px",)
