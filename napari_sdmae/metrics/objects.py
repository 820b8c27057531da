"""Numbers of single objects, from how they overlap: AJI, panoptic quality, F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.metrics.values import PerClass, Values


@dataclass(frozen=True)
class Overlaps:
    """Which objects of two label images lie on which.

    Attributes
    ----------
    truth, found
        Pixels of each object, by its number.
    pairs
        (number in the truth, number found): pixels in common, at least 1.
    """

    truth: dict[int, int]
    found: dict[int, int]
    pairs: dict[tuple[int, int], int]

    def iou(self, pair: tuple[int, int]) -> float:
        """Return the intersection over union of two objects that overlap."""
        common = self.pairs[pair]
        return common / (self.truth[pair[0]] + self.found[pair[1]] - common)


def overlaps(truth: NDArray[np.integer], found: NDArray[np.integer]) -> Overlaps:
    """Return the overlaps of two label images (H, W); 0 is no object.

    Raises
    ------
    ValueError
        If they differ in shape.
    """
    if truth.shape != found.shape:
        raise ValueError(f"got label images of {truth.shape} and {found.shape}; expected the same shape")
    stride = int(found.max(initial=0)) + 1
    codes, pixels = np.unique(truth.astype(np.int64) * stride + found, return_counts=True)
    pairs = {divmod(code, stride): count for code, count in zip(codes.tolist(), pixels.tolist(), strict=True)}
    areas: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for pair, count in pairs.items():
        for area, number in zip(areas, pair, strict=True):
            area[number] = area.get(number, 0) + count
    for area in areas:
        area.pop(0, None)
    return Overlaps(*areas, {pair: count for pair, count in pairs.items() if all(pair)})


def aggregated_jaccard(both: Overlaps) -> float | None:
    """Return the aggregated Jaccard index of an image, None where there are no objects at all.

    Each true object is paired with the found one of highest intersection over union; the sum of the intersections is divided by
    that of the unions and of the found objects that no true one was paired with (Kumar et al., IEEE TMI 2017).
    """
    best: dict[int, tuple[float, int]] = {}
    for true, found in both.pairs:
        candidate = both.iou((true, found)), -found
        best[true] = max(best.get(true, candidate), candidate)
    partner = {true: -number for true, (_, number) in best.items()}
    common = sum(both.pairs[pair] for pair in partner.items())
    used = set(partner.values())
    missed = sum(area for number, area in both.found.items() if number not in used)
    union = sum(both.truth.values()) + sum(both.found[number] for number in partner.values()) - common + missed
    return common / union if union else None


@dataclass
class Matches:
    """Objects that were found (intersection over union above one half, so each at most once), missed, and invented."""

    quality: float = 0.0
    found: int = 0
    missed: int = 0
    invented: int = 0

    def add(self, both: Overlaps) -> None:
        """Count the objects of an image."""
        right = [iou for pair in both.pairs if (iou := both.iou(pair)) > 0.5]
        self.quality += sum(right)
        self.found += len(right)
        self.missed += len(both.truth) - len(right)
        self.invented += len(both.found) - len(right)

    def compute(self) -> Values:
        """Return ``PQ`` = ``SQ`` × ``F1`` (Kirillov et al., CVPR 2019), as far as there are objects."""
        weight = self.found + (self.missed + self.invented) / 2
        if not weight:
            return {}
        segmentation = {"SQ": self.quality / self.found} if self.found else {}
        return {"PQ": self.quality / weight, "F1": self.found / weight} | segmentation


class InstanceMetrics:
    """AJI, panoptic quality and F1 at an overlap of one half, of objects.

    Parameters
    ----------
    classes
        Names of the types, in the order of their indices.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._all = Matches()
        self._types = [Matches() for _ in classes]
        self._aji: list[float] = []

    def update(
        self,
        prediction: NDArray[np.integer],
        truth: NDArray[np.integer],
        predicted_types: Mapping[int, int] | None = None,
        true_types: Mapping[int, int] | None = None,
    ) -> None:
        """Add an image: object numbers (H, W), 0 = none, and with several types the type index of each number."""
        both = overlaps(truth, prediction)
        self._all.add(both)
        aji = aggregated_jaccard(both)
        self._aji += [] if aji is None else [aji]
        if len(self.classes) > 1:
            for index, matches in enumerate(self._types):
                matches.add(_of_type(both, index, true_types or {}, predicted_types or {}))

    def compute(self) -> Values:
        """Return ``PQ``, ``F1``, ``SQ`` over all objects, ``AJI`` (mean over images) and, of several types, ``mPQ``."""
        values = self._all.compute() | ({"AJI": float(np.mean(self._aji))} if self._aji else {})
        qualities = [one["PQ"] for one in self.per_class().values() if "PQ" in one]
        return values | ({"mPQ": float(np.mean(qualities))} if qualities and len(self.classes) > 1 else {})

    def per_class(self) -> PerClass:
        """Return ``PQ``, ``F1`` and ``SQ`` of each type: an object of another type is not found."""
        of = self._types if len(self.classes) > 1 else [self._all]
        return {name: matches.compute() for name, matches in zip(self.classes, of, strict=True)}

    def confusion(self) -> None:
        """Return None: what lies on no object has no class."""
        return


def _of_type(both: Overlaps, index: int, true_types: Mapping[int, int], found_types: Mapping[int, int]) -> Overlaps:
    """Return the overlaps among objects of one type."""
    truth = {number: area for number, area in both.truth.items() if true_types.get(number) == index}
    found = {number: area for number, area in both.found.items() if found_types.get(number) == index}
    return Overlaps(truth, found, {pair: count for pair, count in both.pairs.items() if pair[0] in truth and pair[1] in found})
