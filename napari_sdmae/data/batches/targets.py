"""Labelled images as training needs them: at scale, large enough to cut from, with targets; kept in memory as far as it goes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from threading import Lock

import numpy as np
import psutil
from numpy.typing import NDArray

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.labelled_set import LabelledImage, LabelledSet
from napari_sdmae.data.labelled.load import Loaded, load_labelled, resize_image
from napari_sdmae.labels.label_map import IGNORE
from napari_sdmae.labels.watershed import instance_targets
from napari_sdmae.typing import RGB

LARGEST_MEMORY = 8_000_000_000
"""Most bytes of decoded images kept, when that much is free: a quarter of the free memory else."""
FULL = 255
"""Stands for 1 in a map kept in 8 bits."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One image and its targets.

    Attributes
    ----------
    image
        uint8 RGB (H, W, 3), reflected at its lower and right end where it is smaller than what is cut.
    maps
        int16 (C, H, W). Segmentation: class indices, `IGNORE` where nothing is to be learned, as in what is reflected.
        Instances: foreground 0, 1 or `IGNORE`, separation 0 to 255 and, with several types, type indices, `IGNORE` outside
        objects; they are reflected with the image, since they say what the mirrored picture shows and hold no numbers that could
        fuse.
        Empty (0, H, W) for other tasks.
    label
        Classification: class index; else 0.
    boxes, values
        Detection: float32 (N, 4), left, upper, right, lower edge in px, and class values int64 (N,).
    gaps
        Whether some pixels are not learned.
    """

    image: RGB
    maps: NDArray[np.int16]
    label: int
    boxes: NDArray[np.float32]
    values: NDArray[np.int64]
    gaps: bool

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        return self.image.nbytes + self.maps.nbytes + self.boxes.nbytes


def prepare(image: LabelledImage, labelled: LabelledSet, config: FinetuneConfig, edge: int, mpp: float | None) -> Prepared:
    """Read an image at the scale `mpp`, at least `edge` px high and wide, and compute its targets.

    Targets of instances are computed here, on the whole image: an object that a tile cuts keeps the distances of the whole.

    Raises
    ------
    InvalidImageError
        If a file cannot be decoded.
    """
    loaded = load_labelled(image, labelled, mpp, config.labels.ignore_value)
    pixels = loaded.image
    if labelled.task == "classification" and not (image.mpp and mpp):
        pixels = _fit(pixels, edge)
    maps = _maps(loaded, labelled, config)
    padding = [(0, max(0, edge - length)) for length in pixels.shape[:2]]
    if any(end for _, end in padding):
        pixels = np.pad(pixels, [*padding, (0, 0)], mode="symmetric")
        maps = _pad_maps(maps, padding, labelled)
    detection = labelled.task == "detection"
    return Prepared(
        np.ascontiguousarray(pixels),
        maps,
        loaded.target if isinstance(loaded.target, int) else 0,
        np.asarray(loaded.target, np.float32) if detection else np.zeros((0, 4), np.float32),
        loaded.labels,
        len(maps) > 0 and bool((maps[0] == IGNORE).any()),
    )


def _fit(image: RGB, edge: int) -> RGB:
    """Resize an image of unknown scale so that its shorter side is `edge`: its label is of all of it."""
    factor = edge / min(image.shape[:2])
    return resize_image(image, (max(edge, round(image.shape[0] * factor)), max(edge, round(image.shape[1] * factor))))


def _maps(loaded: Loaded, labelled: LabelledSet, config: FinetuneConfig) -> NDArray[np.int16]:
    target = loaded.target
    if labelled.task == "segmentation":
        return np.asarray(target, np.int16)[None]
    if labelled.task != "instances":
        return np.zeros((0, *loaded.image.shape[:2]), np.int16)
    objects = np.asarray(target, np.int32)
    foreground, separation = instance_targets(objects, config.head.separation)
    maps = [foreground.astype(np.int16), np.rint(separation * FULL).astype(np.int16)]
    if len(labelled.classes) > 1:
        table = np.full(int(objects.max(initial=0)) + 1, IGNORE, np.int16)
        for number, index in loaded.types.items():
            table[number] = index
        maps.append(table[objects])
    if loaded.unlearned is not None:
        for one in (maps[0], *maps[2:]):
            one[loaded.unlearned] = IGNORE
    return np.stack(maps)


def _pad_maps(maps: NDArray[np.int16], padding: list[tuple[int, int]], labelled: LabelledSet) -> NDArray[np.int16]:
    around = [(0, 0), *padding]
    if labelled.task == "instances":
        return np.pad(maps, around, mode="symmetric")
    return np.pad(maps, around, constant_values=IGNORE)


class PreparedImages:
    """Prepares images when they are asked for, and keeps those used last.

    Parameters
    ----------
    images, labelled, config, edge, mpp
        As for :func:`prepare`.
    memory
        Bytes to keep at most; None: a quarter of the free memory, at most 8 GB.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        labelled: LabelledSet,
        config: FinetuneConfig,
        edge: int,
        mpp: float | None,
        memory: int | None = None,
    ) -> None:
        self.images, self.labelled, self.config, self.edge, self.mpp = images, labelled, config, edge, mpp
        self.memory = memory if memory is not None else min(LARGEST_MEMORY, ceil(psutil.virtual_memory().available / 4))
        self._kept: OrderedDict[int, Prepared] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __getitem__(self, index: int) -> Prepared:
        """Return image `index`; safe in several threads."""
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        prepared = prepare(self.images[index], self.labelled, self.config, self.edge, self.mpp)
        with self._lock:
            self._keep(index, prepared)
        return prepared

    def _keep(self, index: int, prepared: Prepared) -> None:
        if index in self._kept or prepared.bytes > self.memory:
            return
        self._kept[index] = prepared
        self._bytes += prepared.bytes
        while self._bytes > self.memory:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.bytes
