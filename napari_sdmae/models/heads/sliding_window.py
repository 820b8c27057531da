"""Prediction of images of any size: overlapping windows, blended with a smooth weight so that no seams show.

Windows of the tile size share a quarter with their neighbours, and the last one ends at the edge of the image, so that nothing
is added around it. Probabilities are averaged, not logits, with the weight sin²: an average of probabilities is one again. The
weight is never 0, as one window alone sees the pixels at the border. Blending equals a slow loop; a constant model gives a
constant to 1e-5 at overlaps of 0, ¼ and 0.6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.models.heads.head_model import HeadModel, InstanceOutput, SegmentationOutput
from napari_sdmae.typing import RGB

Maps = dict[str, NDArray[np.float32]]
Progress = Callable[[int, int], None]
OVERLAP = 0.25
"""Fraction that neighbouring windows share: wherever windows are, so that scribbles show what the saved head will."""

MIRRORED: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
"""Axes of (B, C, H, W) that the views of a window are mirrored along."""


def predict_windows(
    model: HeadModel,
    image: RGB,
    *,
    window: int | None = None,
    overlap: float = OVERLAP,
    places: tuple[list[int], list[int]] | None = None,
    batch: int = 8,
    flips: bool = False,
    autocast: AbstractContextManager[Any] | None = None,
    progress: Progress | None = None,
) -> Maps:
    """Predict every pixel of an image, window by window.

    An edge shorter than the window is reflected up to whole patches and seen at once. Memory is that of the answer and of one
    batch of windows.

    Parameters
    ----------
    model
        Segmentation or instances.
    image
        RGB at the model's scale, (H, W, 3); H and W at least one patch.
    window
        Edge of the windows in pixels, rounded up to whole patches. None: the tile size that the head was trained with.
    overlap
        Fraction of a window that it shares with the next one, 0 to below 1.
    places
        First rows and first columns of the windows. None: those of :func:`starts`; a block of a large picture gives those that
        the whole would have.
    batch
        Windows per forward pass.
    flips
        Average the answers to four mirrored views of each window: four times as slow, slightly better.
    autocast
        Precision of the forward pass: a context manager that can be entered again and again, such as ``torch.autocast(…)``.
    progress
        Called with the number of windows done and of all windows.

    Returns
    -------
    dict
        Segmentation: ``probabilities`` (C, H, W). Instances: ``foreground`` and ``separation`` (H, W) in [0, 1], and with
        more than one type ``types`` (T, H, W), probabilities.

    Raises
    ------
    ValueError
        If the model has another task, or image, window, overlap or places do not fit.
    """
    if model.spec.task not in ("segmentation", "instances"):
        raise ValueError(f"a {model.spec.task} head has no map of pixels; windows are for segmentation and instances")
    patch = model.spec.encoder.patch_size
    _check(image, patch, overlap, batch)
    height, width = image.shape[:2]
    padded, sizes = pad_to_windows(image, window or model.spec.tile_size, patch)
    if places is None:
        places = starts(padded.shape[0], sizes[0], overlap), starts(padded.shape[1], sizes[1], overlap)
    total = [_total(length, first, size) for length, first, size in zip(padded.shape[:2], places, sizes, strict=True)]
    if not all(axis.all() for axis in total):
        raise ValueError(
            f"windows of {sizes[0]} x {sizes[1]} px at {places} do not cover {padded.shape[0]} x {padded.shape[1]} px"
        )
    sums = _add_windows(model, padded, places, sizes, batch, flips, autocast or nullcontext(), progress)
    sums /= total[0][:, None]
    sums /= total[1]
    return _named(model, sums[:, :height, :width])


def pad_to_windows(image: RGB, window: int, patch: int) -> tuple[RGB, tuple[int, int]]:
    """Return `image` as windows see it, and their height and width.

    Windows are `window` px, rounded up to whole patches. A side that is shorter is reflected, at the bottom or the right, to
    whole patches, and seen at once.
    """
    edge = ceil(window / patch) * patch
    extra = [(0, -length % patch if length < edge else 0) for length in image.shape[:2]]
    padded = np.pad(image, [*extra, (0, 0)], mode="reflect") if any(after for _, after in extra) else image
    return padded, (min(edge, padded.shape[0]), min(edge, padded.shape[1]))


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Return the first pixels of the fewest evenly spaced windows that cover `length` and share at least `overlap`."""
    if length <= window:
        return [0]
    count = ceil((length - window) / max(window * (1 - overlap), 1)) + 1
    return [round(place) for place in np.linspace(0, length - window, count)]


def ramp(window: int) -> NDArray[np.float32]:
    """Return the weight along a window: sine squared, largest in the middle, never 0, so that every pixel counts."""
    inside: NDArray[np.float32] = np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2
    return (inside + 1e-3).astype(np.float32)


def _check(image: RGB, patch: int, overlap: float, batch: int) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"got an image of shape {image.shape} and type {image.dtype}; expected uint8 (H, W, 3)")
    if min(image.shape[:2]) < patch:
        raise ValueError(
            f"the image is {image.shape[0]} x {image.shape[1]} px, less than one patch of {patch} px; give a larger one"
        )
    if not 0 <= overlap < 1 or batch < 1:
        raise ValueError(
            f"got overlap {overlap} and batch {batch}; expected an overlap of 0 to below 1 and a batch of at least 1"
        )


def _add_windows(
    model: HeadModel,
    image: RGB,
    places: tuple[list[int], list[int]],
    sizes: tuple[int, int],
    batch: int,
    flips: bool,
    autocast: AbstractContextManager[Any],
    progress: Progress | None,
) -> NDArray[np.float32]:
    """Return the weighted sum of all windows, (channels, H, W)."""
    weight = torch.from_numpy(ramp(sizes[0])[:, None] * ramp(sizes[1])).to(model.mean.device)
    corners = [(row, column) for row in places[0] for column in places[1]]
    sums: NDArray[np.float32] | None = None
    done = 0
    for some, maps in _answers(model, image, corners, sizes, batch, flips, autocast):
        weighted = (maps * weight).cpu().numpy()
        if sums is None:
            sums = np.zeros((weighted.shape[1], *image.shape[:2]), np.float32)
        for (row, column), one in zip(some, weighted, strict=True):
            sums[:, row : row + sizes[0], column : column + sizes[1]] += one
        done += len(some)
        if progress is not None:
            progress(done, len(corners))
    assert sums is not None  # there is always one window
    return sums


def _answers(
    model: HeadModel,
    image: RGB,
    corners: list[tuple[int, int]],
    sizes: tuple[int, int],
    batch: int,
    flips: bool,
    autocast: AbstractContextManager[Any],
) -> Iterator[tuple[list[tuple[int, int]], Tensor]]:
    """Yield some corners and the values in [0, 1] of their windows, (B, channels, h, w) float32."""
    training = model.training
    model.eval()
    try:
        for first in range(0, len(corners), batch):
            some = corners[first : first + batch]
            crops = np.stack([image[row : row + sizes[0], column : column + sizes[1]] for row, column in some])
            with torch.inference_mode(), autocast:
                yield some, _views(model, model.normalise(torch.from_numpy(crops).to(model.mean.device)), flips)
    finally:
        model.train(training)


def _views(model: HeadModel, images: Tensor, flips: bool) -> Tensor:
    """Return the values in [0, 1] of normalised images (B, 3, h, w); with `flips` the mean over four mirrored views."""
    if not flips:
        return _values(model(images))
    return torch.stack([_values(model(images.flip(axes))).flip(axes) for axes in MIRRORED]).mean(0)


def _values(output: SegmentationOutput | InstanceOutput) -> Tensor:
    """Return probabilities of classes, or foreground, separation and types, one below the other."""
    if isinstance(output, SegmentationOutput):
        return output.logits.float().softmax(1)
    maps = [output.foreground.float().sigmoid(), output.separation.float().sigmoid()]
    return torch.cat(maps if output.types is None else [*maps, output.types.float().softmax(1)], 1)


def _total(length: int, places: list[int], window: int) -> NDArray[np.float32]:
    """Return the sum of all weights along one axis; over the plane it is the product of both axes."""
    total = np.zeros(length, np.float32)
    for place in places:
        total[place : place + window] += ramp(window)
    return total


def _named(model: HeadModel, maps: NDArray[np.float32]) -> Maps:
    if model.spec.task == "segmentation":
        return {"probabilities": maps}
    named = {"foreground": maps[0], "separation": maps[1]}
    return named | ({"types": maps[2:]} if len(maps) > 2 else {})
