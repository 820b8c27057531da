"""Segmentation of a field from a few strokes, by a linear or nearest-neighbour head on the frozen tokens of an encoder.

The field is seen window by window as :func:`napari_sdmae.models.heads.sliding_window.predict_windows` sees it, and the tokens
of all windows are kept: a new stroke then costs a small fit and a blend. A linear head on tokens and bilinear interpolation can
change places, so a head that is fitted to tokens interpolated at painted pixels is fitted to the very map that is drawn, and
the linear head of a head folder (:class:`napari_sdmae.models.heads.segmentation.DenseHead`) with the same weights draws it
again.

The consistency shown is cross-validated over whole strokes (touching pixels of a class): painted pixels next to each other are
nearly equal, and leaving single ones out would always give nearly 100 %. It is no accuracy of the picture, as people paint
where the case is clear. Eight strokes that each look different score at most 60 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.inference.scribbles.linear_head import fit_linear_head, nearest_votes
from napari_sdmae.inference.scribbles.samples import Integers, LinearHead, Method, Samples
from napari_sdmae.io.checkpoints.load import Encoder
from napari_sdmae.io.images.field import check_size
from napari_sdmae.models.heads.feature_pyramid import last_tokens
from napari_sdmae.models.heads.sliding_window import OVERLAP, pad_to_windows, ramp, starts
from napari_sdmae.typing import RGB, Floats

PER_CLASS = 1000
"""Painted pixels of a class and field that are learned from, evenly chosen: more add seconds and no agreement."""

MOST_PER_CLASS = 2000
"""Samples of a class that are fitted to, of all fields together, so that a long day of painting answers as fast."""

VOTERS_PER_CLASS = 500
"""Samples of a class that k-NN compares with: its time grows with them."""

FOLDS = 5

Classifier = Callable[[Floats], Floats]


@dataclass(frozen=True, eq=False)
class WindowTokens:
    """The tokens of a field.

    Attributes
    ----------
    tokens
        Of every window after the encoder's final LayerNorm, (windows, D, rows, columns).
    corners
        (row, column) of each window's first pixel.
    patch
        Edge of a patch in pixels.
    shape
        (rows, columns) of the field in pixels.
    """

    tokens: Tensor
    corners: list[tuple[int, int]]
    patch: int
    shape: tuple[int, int]

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of a window in pixels."""
        return int(self.tokens.shape[2]) * self.patch, int(self.tokens.shape[3]) * self.patch


@torch.inference_mode()
def encode_windows(encoder: Encoder, image: RGB, *, window: int | None = None, batch: int = 8) -> WindowTokens:
    """Return the tokens of a field, window by window.

    Parameters
    ----------
    encoder
        From :func:`napari_sdmae.io.checkpoints.load.load_encoder`.
    image
        The field at the scale that the encoder shall see, uint8 (H, W, 3).
    window
        Edge of the windows in pixels, rounded up to whole patches; None: the encoder's tile size.
    batch
        Windows per forward pass.

    Raises
    ------
    InvalidFieldError
        If the field is smaller than a patch.
    """
    patch = encoder.patch_size
    check_size(image, patch)
    padded, sizes = pad_to_windows(image, window or encoder.tile_size, patch)
    rows, columns = (starts(length, size, OVERLAP) for length, size in zip(padded.shape[:2], sizes, strict=True))
    corners = [(row, column) for row in rows for column in columns]
    device = next(encoder.vit.parameters()).device
    tokens = []
    for first in range(0, len(corners), batch):
        crops = np.stack([padded[y : y + sizes[0], x : x + sizes[1]] for y, x in corners[first : first + batch]])
        tokens.append(last_tokens(encoder.vit, encoder.normalise(torch.from_numpy(crops).to(device))).patches.float().cpu())
    return WindowTokens(torch.cat(tokens), corners, patch, (image.shape[0], image.shape[1]))


def sample(field: WindowTokens, positions: Floats, values: Integers, strokes: Integers) -> Samples:
    """Return the features of painted pixels, from every window that sees them.

    Parameters
    ----------
    field
        The tokens.
    positions
        (row, column) of painted pixels in pixels that the encoder saw, (N, 2); centres of pixels at integers.
    values, strokes
        Class value and stroke of each.
    """
    chosen = evenly(values, PER_CLASS)
    height, width = field.window
    features, points = [], []
    for tokens, corner in zip(field.tokens, field.corners, strict=True):
        inside = positions[chosen] - np.asarray(corner, np.float32)
        seen = ((inside >= -0.5) & (inside < np.array([height, width]) - 0.5)).all(1)
        if seen.any():
            features.append(_interpolated(tokens, inside[seen], field.patch))
            points.append(chosen[seen])
    if not points:
        nothing = np.zeros(0, np.int64)
        return Samples(np.zeros((0, field.tokens.shape[1]), np.float32), nothing, nothing, nothing)
    taken = np.concatenate(points)
    return Samples(np.concatenate(features), values[taken], strokes[taken], taken)


def evenly(values: Integers, most: int) -> Integers:
    """Return the indices of at most `most` evenly spread entries of each value."""
    parts = [np.flatnonzero(values == value) for value in np.unique(values)]
    kept = [part if len(part) <= most else part[np.linspace(0, len(part) - 1, most).round().astype(np.int64)] for part in parts]
    return np.concatenate([*kept, np.zeros(0, np.int64)]).astype(np.int64)


def _interpolated(tokens: Tensor, positions: Floats, patch: int) -> Floats:
    """Return tokens (D, rows, columns) at pixel positions (N, 2) of the window, bilinear as the map is: (N, D)."""
    size = torch.tensor([tokens.shape[2], tokens.shape[1]]) * patch
    place = torch.from_numpy(positions[:, ::-1].copy())
    grid = (2 * (place + 0.5) / size - 1)[None, None].float()
    found = F.grid_sample(tokens[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found[0, :, 0].T.contiguous().numpy()


def classifier(samples: Samples, values: list[int], method: Method) -> tuple[Classifier, LinearHead | None]:
    """Return what turns features (N, D) into logits (N, C) of the class `values`, and the linear head if it is one.

    Raises
    ------
    ValueError
        If the method is unknown or a class has no sample.
    """
    if method not in ("linear", "knn"):
        raise ValueError(f"unknown method {method!r}; expected linear or knn")
    classes = np.searchsorted(values, samples.values)
    if method == "linear":
        head = fit_linear_head(samples.features, classes, len(values))
        return head.logits, head
    if len(np.unique(classes)) < len(values):
        raise ValueError("a class has no painted pixel; paint at least one stroke of each")
    chosen = evenly(classes, VOTERS_PER_CLASS)

    def votes(features: Floats) -> Floats:
        shares = nearest_votes(features, samples.features[chosen], classes[chosen], len(values))
        return np.log(np.maximum(shares, 1e-4))

    return votes, None


@torch.inference_mode()
def blend(field: WindowTokens, classify: Classifier) -> Floats:
    """Return the probabilities (C, H, W) of a field: logits of tokens, interpolated, softmax, windows blended."""
    count, width, rows, columns = field.tokens.shape
    (height, across), shape = field.window, field.shape
    logits = classify(field.tokens.permute(0, 2, 3, 1).reshape(-1, width).numpy())
    maps = torch.from_numpy(logits).reshape(count, rows, columns, -1).permute(0, 3, 1, 2)
    weight = torch.from_numpy(ramp(height)[:, None] * ramp(across))
    bottom, right = (max(corner[axis] + size for corner in field.corners) for axis, size in enumerate((height, across)))
    sums, total = torch.zeros(maps.shape[1], bottom, right), torch.zeros(bottom, right)
    for first in range(0, count, 16):
        enlarged = F.interpolate(maps[first : first + 16], (height, across), mode="bilinear", align_corners=False)
        for one, (y, x) in zip(enlarged.softmax(1).mul_(weight), field.corners[first : first + 16], strict=True):
            sums[:, y : y + height, x : x + across] += one
            total[y : y + height, x : x + across] += weight
    sums /= total
    return sums[:, : shape[0], : shape[1]].numpy()


def agreement(samples: Samples, values: list[int], method: Method) -> dict[int, float]:
    """Return per class the share of painted pixels that a head gets right which has not seen their stroke.

    Strokes are dealt into at most :data:`FOLDS` parts; each part is answered by a head fitted to the others. Whole strokes are
    left out, as the pixels beside a painted one would give its answer away. A class of one stroke cannot be left out and is
    missing in the answer; with fewer than two classes left it is empty. It says how consistent the strokes are, not how right
    the map is: strokes are painted where the case is clear.
    """
    few = samples.where(evenly(samples.values, PER_CLASS // 3))
    fold, many = _folds(few, values)
    if sum(many.values()) < 2:
        return {}
    right: dict[int, list[NDArray[np.bool_]]] = {value: [] for value in values if many[value]}
    for number in range(int(fold.max()) + 1):
        left_out = fold == number
        told, _ = classifier(few.where(~left_out), values, method)
        answers = np.asarray(values)[told(few.features[left_out]).argmax(1)]
        for value in right:
            mine = few.values[left_out] == value
            right[value].append(answers[mine] == value)
    return {value: float(np.concatenate(parts).mean()) for value, parts in right.items()}


def _folds(samples: Samples, values: list[int]) -> tuple[Integers, dict[int, bool]]:
    """Return the part in which each sample is left out (-1: never), and which classes have more than one stroke."""
    fold, many = np.full(len(samples.values), -1, np.int64), {}
    for value in values:
        strokes = np.unique(samples.strokes[samples.values == value])
        many[value] = len(strokes) > 1
        for place, stroke in enumerate(strokes if many[value] else ()):
            fold[(samples.strokes == stroke) & (samples.values == value)] = place % min(FOLDS, len(strokes))
    return fold, many
