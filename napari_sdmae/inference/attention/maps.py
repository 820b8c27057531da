"""Attention maps of an encoded field (method, Attention without a class token).

A_ij is what query patch i takes from key patch j in one head, softmax over j. The true resolution of every map is one value per
patch. Attention is not explanation.

*Received* averages A_ij over patch queries and heads and sums to 1 over the patches: what goes to class and register tokens is
left out. *Mean distance* is Σ A_ij d_ij / Σ A_ij, what each unit of attention travels. Tokens pass the final LayerNorm at
every block, so that blocks compare. Fields are reflected at the bottom and right to whole patches, so that map and field share
their origin: the centre of a cell of s pixels lies at (s - 1) / 2. With cells shifted by half a patch a nucleus and its
attention would lie 8 px apart. The position code is interpolated rather than the field cut, so that attention across the whole
field is seen.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.config.attention import NEED_PATCH, TAKE_PATCH, Method
from napari_sdmae.inference.attention.encode import AttentionState
from napari_sdmae.inference.attention.result import AttentionMap, Head
from napari_sdmae.inference.attention.statistics import distances, entropy, gini, travelled
from napari_sdmae.inference.attention.token_pca import PCABasis, fit_pca


@torch.inference_mode()
def attention_maps(
    state: AttentionState,
    *,
    method: Method = "received",
    block: int = -1,
    head: Head = "mean",
    query: tuple[float, float] | None = None,
    pca: PCABasis | None = None,
) -> AttentionMap:
    """Answer one question about an encoded field.

    Parameters
    ----------
    state
        From :func:`napari_sdmae.inference.encode_field`.
    method
        received: r_j = mean over queries of A_ij. query: row A_i of the query patch. class_token: the row of the class token, if
        there is one. rollout: ½·(mean over heads of A) + ½·I multiplied from the first block to `block` (Abnar and Zuidema,
        ACL 2020): column mean, or row i with a query. pca: tokens as RGB. similarity: cosine of the query's token to all.
        What falls on class and register tokens is left out, and the rest made to sum to 1.
    block
        From 0, or from the end if negative.
    head
        "mean", a head from 0, or "grid" for all; ignored by rollout, pca and similarity.
    query
        (row, column) in pixels of the field; the patch under it is meant. Outside is clipped.
    pca
        Basis fitted to other fields, so that colours compare; None fits it to this one.

    Raises
    ------
    ValueError
        If method, block or head do not exist in this model, or a query is needed and missing.
    """
    block = _check(state, method, block, head, query)
    cell = state.grid.nearest(query) if query is not None and method in TAKE_PATCH else None
    if method == "pca":
        return _pca_map(state, block, pca)
    if method == "similarity":
        return AttentionMap(_shaped(state, _similarity(state, block, cell)), state.grid, method, block, "mean", cell)
    if method == "rollout":
        weights, distance, head = _rollout(state, block, cell)[None], torch.zeros(0), "mean"
    else:
        weights, distance = _received(state, block) if method == "received" else _row(state, block, cell)
        weights = weights if head == "grid" else weights.mean(0, keepdim=True) if head == "mean" else weights[head : head + 1]
    maps = _shaped(state, weights / weights.sum(1, keepdim=True))
    numbers = tuple(map(entropy, maps)), tuple(map(gini, maps)), tuple(distance.cpu().tolist())
    return AttentionMap(maps if head == "grid" else maps[0], state.grid, method, block, head, cell, *numbers)


def _check(state: AttentionState, method: str, block: int, head: Head, query: object) -> int:
    """Return `block` counted from 0; raise ValueError if the question cannot be answered."""
    if method not in get_args(Method):
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(get_args(Method))}")
    if not -state.blocks <= block < state.blocks:
        raise ValueError(f"block {block} does not exist: the encoder has blocks 0 to {state.blocks - 1} (-1 is the last)")
    if head not in ("mean", "grid") and not (isinstance(head, int) and 0 <= head < state.heads):
        raise ValueError(f"head {head!r} does not exist: choose mean, grid, or 0 to {state.heads - 1}")
    if method in NEED_PATCH and query is None:
        raise ValueError(f"method {method} needs a query patch: give a row and a column in pixels")
    if method == "class_token" and not state.class_token:
        raise ValueError("this encoder has no class token; choose method received")
    return block % state.blocks


def _received(state: AttentionState, block: int) -> tuple[Tensor, Tensor]:
    """Return per head the mean attention (heads, L) that patches receive from patches, and its mean distance (heads,); kept."""
    if block not in state.summaries:
        received = torch.zeros(state.heads, state.grid.count, device=state.queries[block].device)
        distance = received.new_zeros(state.heads)
        for rows, chunk in state.chunks(block, first=state.prefix):
            to_patches = chunk[..., state.prefix :]
            received += to_patches.sum(1)
            apart = distances(state.grid, slice(rows.start - state.prefix, rows.stop - state.prefix), received.device)
            distance += travelled(to_patches, apart)
        state.summaries[block] = received / state.grid.count, distance / received.sum(1)
    return state.summaries[block]


def _row(state: AttentionState, block: int, cell: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """Return per head the row (heads, L) of the patch at `cell` and its mean distance (heads,), or the class token's row."""
    token = 0 if cell is None else state.prefix + _raster(state, cell)
    row = state.rows(block, token, token + 1)[..., state.prefix :]
    if cell is None:
        return row[:, 0], row.new_zeros(0)
    apart = distances(state.grid, slice(_raster(state, cell), _raster(state, cell) + 1), row.device)
    return row[:, 0], travelled(row, apart) / row.sum((1, 2))


def _rollout(state: AttentionState, block: int, cell: tuple[int, int] | None) -> Tensor:
    """Return row `cell`, or the mean over the patches' rows, of the rollout through `block`, (L,).

    Only vectors are multiplied: (e_i Â_block) Â_block-1 … Â_0. The rows of ½A + ½I sum to 1 already.
    """
    weights = torch.zeros(state.count, device=state.queries[0].device)
    if cell is None:
        weights[state.prefix :] = 1 / state.grid.count
    else:
        weights[state.prefix + _raster(state, cell)] = 1
    for lower in range(block, -1, -1):
        weights = (weights + state.mean_product(lower, weights)) / 2
    return weights[state.prefix :]


def _similarity(state: AttentionState, block: int, cell: tuple[int, int] | None) -> Tensor:
    """Return the cosine of the token at `cell` to all, (L,)."""
    assert cell is not None, "checked"
    tokens = torch.nn.functional.normalize(state.normed_tokens(block), dim=1)
    return (tokens @ tokens[_raster(state, cell)]).clamp(-1, 1)


def _pca_map(state: AttentionState, block: int, pca: PCABasis | None) -> AttentionMap:
    """Return the tokens as colours."""
    tokens = state.normed_tokens(block).float().cpu().numpy()
    basis = fit_pca(tokens) if pca is None else pca
    colours = basis.colours(tokens).reshape(state.grid.rows, state.grid.columns, 3)
    return AttentionMap(colours, state.grid, "pca", block, "mean", pca=basis)


def _raster(state: AttentionState, cell: tuple[int, int]) -> int:
    return cell[0] * state.grid.columns + cell[1]


def _shaped(state: AttentionState, values: Tensor) -> NDArray[np.float32]:
    """Return values (…, L) as float32 (…, rows, columns) on the CPU."""
    shaped: NDArray[np.float32] = values.float().cpu().numpy().reshape(*values.shape[:-1], state.grid.rows, state.grid.columns)
    return shaped
