"""Nuclei by stain and watershed, as a first teacher: no learning, one threshold for each slide."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
from collect import MPP, Picture, save_labels
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from napari_sdmae.typing import Labels

SMOOTHED_UM, AROUND_UM, OPENED_UM, VALLEY_UM, SMALLEST_UM2 = 0.4, 12.0, 0.5, 0.3, 10.0
LOCAL = 0.3
"""Weight of the stain around a pixel in its threshold; the rest is the slide's (Otsu)."""

Stain = NDArray[np.float32]


def outline_by_stain(tissue: list[Picture], folder: Path) -> dict[Path, Path]:
    """Write the outlines of each picture into `folder`; return them by picture."""
    folder.mkdir(parents=True, exist_ok=True)
    outlined = {one.path: folder / one.path.name for one in tissue}
    for _, group in groupby(tissue, key=lambda one: one.group):
        of_slide = list(group)
        if all(outlined[one.path].exists() for one in of_slide):
            continue
        stains = [_haematoxylin(one.path) for one in of_slide]
        threshold = float(threshold_otsu(np.concatenate([stain[::4, ::4].ravel() for stain in stains])))
        for one, stain in zip(of_slide, stains, strict=True):
            save_labels(_separated(_stained(stain, threshold)), outlined[one.path])
    return outlined


def _haematoxylin(path: Path) -> Stain:
    stain = rgb2hed(np.asarray(Image.open(path)))[..., 0].astype(np.float32)
    smooth: Stain = ndimage.gaussian_filter(stain, SMOOTHED_UM / MPP)
    return smooth


def _stained(stain: Stain, threshold: float) -> NDArray[np.bool_]:
    around = np.maximum(ndimage.gaussian_filter(stain, AROUND_UM / MPP), 0.6 * threshold)
    inside = stain > (1 - LOCAL) * threshold + LOCAL * around
    opened = ndimage.binary_opening(inside, iterations=round(OPENED_UM / MPP))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(opened)
    return filled


def _separated(inside: NDArray[np.bool_]) -> Labels:
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside) * MPP, 0.5 / MPP)
    middles = ndimage.label(h_maxima(np.round(depth * 20).astype(np.int32), round(VALLEY_UM * 20)))[0]
    labels = watershed(-depth, middles, mask=inside)
    kept = np.bincount(labels.ravel()) * MPP**2 >= SMALLEST_UM2
    kept[0] = False
    numbered: Labels = (np.cumsum(kept) * kept).astype(np.int32)[labels]
    return numbered
