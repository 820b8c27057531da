"""Random masks: how many patches are hidden, and which (method, step 2)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.moved import renamed


def num_masked(ratio: float, patches: int) -> int:
    """Return floor(ratio · patches) of the ratio as written: 0.29 of 100 is 29, although ``int(0.29 * 100)`` is 28.

    Raises
    ------
    ValueError
        If the ratio leaves no patch visible or none masked.
    """
    count = int(Fraction(repr(float(ratio))) * patches)
    if not 0 < count < patches:
        raise ValueError(
            f"mask ratio {ratio} hides {count} of {patches} patches; at least one must be masked and one visible: "
            "choose another ratio or a smaller patch"
        )
    return count


def random_mask(uniforms: NDArray[np.float64], ratio: float) -> NDArray[np.bool_]:
    """Mask the patches with the smallest random numbers.

    Parameters
    ----------
    uniforms
        Random numbers, (B, L), one per patch.
    ratio
        Fraction of the patches to hide, in (0, 1).

    Returns
    -------
    ndarray
        bool, (B, L), True = masked; the same number in every row.
    """
    count = num_masked(ratio, uniforms.shape[1])
    mask = np.zeros(uniforms.shape, bool)
    np.put_along_axis(mask, np.argsort(uniforms, axis=1, kind="stable")[:, :count], True, axis=1)
    return mask


def num_masked_in(mask: Tensor) -> int:
    """Return how many patches each row of `mask` (B, L) hides.

    Reads the mask on the host: on a GPU this waits for the device, so the training loop passes the number instead.

    Raises
    ------
    ValueError
        If the rows differ.
    """
    counts = mask.sum(1)
    least, most = int(counts.min()), int(counts.max())
    if least != most:
        raise ValueError(f"every image must have the same number of masked patches, got {least} to {most}")
    return most


__getattr__ = renamed(__name__, masked_count="num_masked", count_masked="num_masked_in")
