"""What is requested about attention and how the result is shown: pure functions between controls, worker and layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.attention import BY_HEAD, NEED_PATCH, Method
from napari_sdmae.config.base import Device
from napari_sdmae.inference.attention.result import AttentionResult, ColourBasis, Head
from napari_sdmae.layers.base import Field, LayerData, attributes, beside, derived, mosaic, placed, query_marker, robust_limits
from napari_sdmae.notices import ATTENTION
from napari_sdmae.worker.protocol import AttentionRequest

METHODS: dict[Method, tuple[str, str]] = {
    "received": ("Attention received", "How much the rest of the picture looks at each patch. Red: most."),
    "query": ("Clicked patch", "Where the clicked patch looks. Click or drag in the picture to move it."),
    "rollout": ("Rollout", "Attention followed through all blocks up to this one (Abnar & Zuidema 2020)."),
    "pca": ("Token colours (PCA)", "Similar tissue gets a similar colour."),
    "similarity": ("Similarity", "Cosine similarity of every patch's feature to the clicked patch. Click or drag to move it."),
}
"""What the dock offers: all but the class token's attention, which our own models have none of."""
KEYS = "attention/"
"""What the keys of all layers made here start with."""
GAP = 2
"""Patches between the maps of a grid of heads: room for the name of each."""
TISSUE_DETAIL = 8
"""Pixels of tissue kept per patch under a grid of heads."""


class Parameters(TypedDict):
    """Which map, as request and command line name it."""

    method: Method
    block: int
    head: Head


@dataclass(frozen=True)
class View:
    """What the controls say. `block` and `head` count from 1, as people do."""

    method: Method = "received"
    block: int = 12
    head: Head = "mean"

    @property
    def grid(self) -> bool:
        """Whether all heads are shown beside each other."""
        return self.head == "grid" and self.method in BY_HEAD

    @property
    def pointed(self) -> bool:
        """Whether the map belongs to one patch."""
        return self.method in NEED_PATCH

    def fitted(self, depth: int, heads: int) -> View:
        """Return the view with block and head that a model of `depth` blocks of `heads` heads has."""
        head: Head = min(self.head, heads) if isinstance(self.head, int) else self.head
        return View(self.method, min(self.block, depth), head)

    @property
    def title(self) -> str:
        """What the layer is called after the image's name: ``attention b12 h3``."""
        words = {
            "received": "attention",
            "query": "attention of patch",
            "rollout": "rollout",
            "pca": "token colours",
            "similarity": "similarity",
        }[self.method]
        head = "" if self.method not in BY_HEAD else {"mean": " mean", "grid": " heads"}.get(str(self.head), f" h{self.head}")
        return f"{words} b{self.block}{head}"

    @property
    def parameters(self) -> Parameters:
        """Block and head as request and command line count them: from 0."""
        head: Head = self.head - 1 if isinstance(self.head, int) else self.head
        return {"method": self.method, "block": self.block - 1, "head": head}


def attention_request(
    view: View,
    model: str,
    pixels: NDArray[np.uint8],
    query: tuple[float, float] | None,
    *,
    mpp: float | None,
    device: Device = "auto",
    colours: ColourBasis | None = None,
) -> AttentionRequest:
    """Return the request for the map that `view` shows; `query` and `colours` only where its method uses them."""
    return AttentionRequest(
        model=model,
        image=pixels,
        query=query if view.pointed else None,
        mpp=mpp,
        colours=colours if view.method == "pca" else None,
        device=device,
        **view.parameters,
    )


def places(shown: Sequence[Shown]) -> list[Field]:
    """Return where the map of each model lies: over the picture, or in the room beside it.

    A grid of heads needs that room; two maps of a part of the picture are both put there, to be side by side.
    """
    view, field = shown[0].view, shown[0].field
    columns = _columns(len(shown[0].values)) if view.grid else 1
    first = 1 if view.grid or (len(shown) > 1 and field.width) else 0
    return [beside(one.field, first + (columns if one.slot == "b" else 0)) for one in shown]


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


@dataclass(frozen=True)
class Shown:
    """The map of one model. `slot` is "a", or "b" for the model compared with."""

    slot: str
    field: Field
    view: View
    result: AttentionResult

    @property
    def values(self) -> NDArray[Any]:
        """The map, (rows, columns[, 3]), or of all heads (heads, rows, columns)."""
        return self.result.map.values


def attention_layers(shown: Sequence[Shown], pixels: NDArray[np.uint8], *, opacity: float, interpolation: str) -> list[LayerData]:
    """Return all layers of one or two results on one colour scale, tissue first, marker last."""
    view, fields = shown[0].view, places(shown)
    compared = len(shown) > 1
    limits = robust_limits(*(one.values for one in shown), from_zero=view.method != "similarity")
    style: dict[str, Any] = {"opacity": opacity, "interpolation2d": interpolation}
    if view.method == "pca":
        style |= {"rgb": True}
    else:
        style |= {"contrast_limits": limits, "colormap": "turbo"}
    layers = [layer for one, field in zip(shown, fields, strict=True) for layer in _of_model(one, field, pixels, compared, style)]
    if view.pointed and not view.grid:
        result, moved = shown[0].result, [field for field in fields if field.origin != shown[0].field.origin]
        assert result.query is not None, "a pointed method has a query"
        layers.append(query_marker([shown[0].field, *moved], result.query, result.cell))
    return layers


def _of_model(one: Shown, field: Field, pixels: NDArray[np.uint8], compared: bool, style: Mapping[str, Any]) -> list[LayerData]:
    """Return tissue (beside the picture only), map and labels of one model at `field`."""
    result, view = one.result, one.view
    title = view.title + (f" · {result.model.name}" if compared else "")
    provenance = {
        "model": result.model.to_dict(),
        "parameters": {**view.parameters, "query": result.query},
        "statistics": result.statistics,
        "note": ATTENTION,
    }
    cell, first, values = result.cell, result.first, one.values
    key = f"{KEYS}{'colours' if view.method == 'pca' else 'map'}/{one.slot}"
    columns = _columns(len(values)) if view.grid else 1
    layers = [_tissue(one, field, pixels, columns, compared)] if field.origin != one.field.origin else []
    if view.grid:
        values, corners = mosaic(values, columns, GAP)
        layers.append(derived(field, values, title, key, provenance, cell=cell, first=first, **style))
        layers.append(head_labels(field, one.slot, corners, cell))
    else:
        layers.append(derived(field, values, title, key, provenance, cell=cell, first=first, **style))
    return layers


def _tissue(one: Shown, field: Field, pixels: NDArray[np.uint8], columns: int, compared: bool) -> LayerData:
    """Return the picture again under maps that lie beside it, once per head, with less detail the more heads."""
    rows, width = one.values.shape[1:3] if one.view.grid else one.values.shape[:2]
    cell = one.result.cell
    detail = min(int(cell[0]), TISSUE_DETAIL) if one.view.grid else int(cell[0])
    step = cell[0] / detail
    picks = [
        np.minimum(((np.arange(count * detail) + 0.5) * step).astype(int), limit - 1)
        for count, limit in zip((rows, width), pixels.shape, strict=False)
    ]
    picture = pixels[np.ix_(*picks)]
    count = len(one.values) if one.view.grid else 1
    if count > 1:
        picture, _ = mosaic(np.broadcast_to(picture, (count, *picture.shape)), columns, GAP * detail)
    what = f"tissue for {one.result.model.name}" if compared else "tissue for the heads"
    return derived(field, picture, what, f"{KEYS}tissue/{one.slot}", {}, cell=(step, step), first=((step - 1) / 2,) * 2, rgb=True)


def head_labels(field: Field, slot: str, corners: Sequence[tuple[int, int]], cell: Sequence[float]) -> LayerData:
    """Return the names h1, h2 … at the top left of each map of a grid of heads."""
    places = np.array(corners, float) * cell
    points = np.hstack([np.zeros((len(places), len(field.source.scale) - 2)), places])
    text = {"string": [f"h{head + 1}" for head in range(len(points))], "color": "white", "anchor": "upper_left", "size": 11}
    display = {"size": 1.0, "face_color": "transparent", "border_color": "transparent", "text": text}
    named = attributes(field, "heads" if slot == "a" else "heads (2)", f"{KEYS}labels/{len(points)}/{slot}", {})
    return points, named | placed(field) | display, "points"
