"""What a scale may be, and what a model may state of itself: pixel statistics, scale, sizes. The one place for these rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from napari_sdmae.text.printable import shown

SMALLEST_STD = 1e-3
"""Of [0, 1] RGB; models that expect 0-255 have 1/255."""
SMALLEST_MPP, LARGEST_MPP = 0.05, 20.0
"""Scale of pictures, µm/px; outside it is no microscope's: 72, 96 and 300 dpi, which programs write, are 353, 265 and 85."""
LEAST_MPP, MOST_MPP = 0.002, 100.0
"""Scale of what a model sees, µm/px: wider than a microscope's, since crops are resized."""

_LARGEST = {"img_size": 16384, "patch_size": 256, "embed_dim": 16384, "depth": 256, "num_heads": 512, "reg_tokens": 1024}
_LARGEST_RATIO = 64
_MAY_BE_ZERO = ("reg_tokens",)


def plausible_mpp(mpp: float | None) -> float | None:
    """Return `mpp` when a microscope can have it (0.05-20 µm/px), else None."""
    return mpp if mpp is not None and SMALLEST_MPP <= mpp <= LARGEST_MPP else None


def implausible(mpp: float) -> str:
    """Return why a scale of `mpp` µm/px is not believed, with the unit that may have been meant; empty if it is believed."""
    if plausible_mpp(mpp):
        return ""
    meant = next((unit for unit, factor in (("nm", 1e-3), ("mm", 1e3)) if plausible_mpp(mpp * factor)), None)
    question = f"; is it in {meant}?" if meant else ""
    return f"{mpp:.4g} µm/px is not plausible (expected {SMALLEST_MPP:g} to {LARGEST_MPP:g}){question}"


def check_pixel_statistics(mean: Any, std: Any) -> None:
    """Raise ValueError unless `mean` and `std` are three numbers each that can normalise [0, 1] RGB."""
    _check_channels("mean", mean, 0.0, 1.0)
    _check_channels("std", std, SMALLEST_STD, 1.0)


def check_mpp(mpp: Any) -> None:
    """Raise ValueError unless `mpp`, in µm/px, is None or a plausible scale."""
    if mpp is not None and not _between(mpp, LEAST_MPP, MOST_MPP):
        raise ValueError(f"mpp is {shown(mpp)}; expected µm per pixel from {LEAST_MPP:g} to {MOST_MPP:g}, or null if not known")


def check_encoder_arguments(arguments: Any) -> None:
    """Raise ValueError unless the sizes among the arguments of an encoder, such as its depth, are whole and plausible."""
    if not isinstance(arguments, Mapping):
        raise ValueError(f"the encoder's arguments are {shown(arguments)}; expected names and values")
    for name, largest in _LARGEST.items():
        check_sizes(name, arguments.get(name), largest)
    ratio = arguments.get("mlp_ratio")
    if ratio is not None and not _between(ratio, 1e-3, _LARGEST_RATIO):
        raise ValueError(f"mlp_ratio is {shown(ratio)}; expected a number above 0, at most {_LARGEST_RATIO}")


def check_sizes(name: str, value: Any, largest: int) -> None:
    """Raise ValueError unless `value` is None, a whole number from 1 to `largest`, or two of them (rows, columns)."""
    sizes = list(value) if isinstance(value, list | tuple) and len(value) == 2 else [value]
    least = 0 if name in _MAY_BE_ZERO else 1
    if value is not None and not all(type(size) is int and least <= size <= largest for size in sizes):
        raise ValueError(f"{name} is {shown(value)}; expected a whole number from {least} to {largest}")


def _check_channels(name: str, values: Any, least: float, most: float) -> None:
    three = isinstance(values, list | tuple) and len(values) == 3
    if not three or not all(_between(value, least, most) for value in values):
        raise ValueError(f"{name} is {shown(values)}; expected three numbers from {least:g} to {most:g}, of [0, 1] RGB")


def _between(value: Any, least: float, most: float) -> bool:
    """Return whether `value` is a number of this range; NaN is in none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and least <= value <= most
