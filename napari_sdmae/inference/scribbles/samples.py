"""What is learned from strokes, and the head that comes of it. Torch-free, so that the viewer can hold both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.typing import Floats

Integers = NDArray[np.int64]
Method = Literal["linear", "knn"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Features of painted pixels.

    Attributes
    ----------
    features
        float32 (N, D).
    values
        Class value of each.
    strokes
        Which stroke each belongs to; numbers are unique within all that is learned from.
    points
        Index of the painted pixel that each was taken at, in the order they were given.
    """

    features: Floats
    values: Integers
    strokes: Integers
    points: Integers

    def where(self, chosen: NDArray[np.bool_] | Integers) -> Self:
        """Return some of the samples."""
        return replace(
            self,
            features=self.features[chosen],
            values=self.values[chosen],
            strokes=self.strokes[chosen],
            points=self.points[chosen],
        )

    @classmethod
    def join(cls, parts: list[Samples]) -> Samples:
        """Return all samples of `parts`; strokes of different parts are different strokes."""
        offset, strokes = 0, []
        for part in parts:
            strokes.append(part.strokes + offset)
            offset += int(part.strokes.max(initial=-1)) + 1
        return Samples(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate(strokes),
            np.concatenate([part.points for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Logits of C classes: ``features @ weight.T + bias``.

    Attributes
    ----------
    weight, bias
        float32 (C, D) and (C,), for features as they are: the standardisation of the fit is folded in.
    """

    weight: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        """Return the logits (N, C) of features (N, D)."""
        found: Floats = features @ self.weight.T + self.bias
        return found


@dataclass(frozen=True, eq=False)
class ScribbleHead:
    """A linear head on the tokens of a model.

    Attributes
    ----------
    linear
        Weights and biases of C classes.
    values
        Class values of the C.
    mpp
        µm per pixel that the encoder saw; None if unknown.
    """

    linear: LinearHead
    values: tuple[int, ...]
    mpp: float | None
