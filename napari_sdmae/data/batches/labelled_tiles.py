"""Batches of labelled tiles: cut, turned and coloured at random, image and labels together.

Everything random is a function of (seed, epoch, index): a batch is the same in any order, in any process, after any restart.

Targets of instances are computed once, on the whole image at the scale that is seen: a nucleus that a tile cuts keeps the
distances of the whole one, and a batch costs no distance transform. Where an image is smaller than what is cut it is reflected,
and class labels there are ignored. A crop without labels, as among strokes, moves to a random labelled pixel. SciPy's distance
transform, object by object, is the oracle (``tests/data/batches/test_labelled_tiles.py``).

What is learned is what is predicted: random crops are cut from an area so much larger than the tile that they show tissue at the
scale of the head on average. Cut from the tile itself, with areas of 0.5 to 1, they would show nuclei 1 to 1.41 times as large as
prediction does. A classified image is one tile and has no more to show: its crops are magnified.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.config.finetune import FinetuneConfig, LabelledAugmentation
from napari_sdmae.config.pretrain import AugmentationConfig
from napari_sdmae.data.batches.augment import Draw, augment, augment_maps, draw_augmentation, placement
from napari_sdmae.data.batches.boxes import boxes_in_tile, move_boxes
from napari_sdmae.data.batches.crops import typical_edge
from napari_sdmae.data.batches.mixing import Mixing, brighten, draw_mixing, erase, mix, mix_targets, rand_augment
from napari_sdmae.data.batches.targets import FULL, Prepared, PreparedImages
from napari_sdmae.data.labelled.class_balance import class_weights, image_weights
from napari_sdmae.data.labelled.labelled_set import LabelledImage, LabelledSet
from napari_sdmae.data.labelled.load import scaled_size
from napari_sdmae.data.tiles.grid import grid_starts
from napari_sdmae.labels.label_map import IGNORE
from napari_sdmae.rng import PLACE, uniforms

Indices = NDArray[np.int64]
Place = tuple[int, int, int]
Targets = Tensor | dict[str, Tensor] | list[dict[str, Tensor]]


class Batch(NamedTuple):
    """Tiles and targets.

    Attributes
    ----------
    images
        float32 RGB in [0, 1], (B, 3, S, S).
    targets
        Segmentation: int64 (B, S, S) class indices, `IGNORE` left out. Instances: ``foreground``, 0, 1 or `IGNORE`, and
        ``separation`` in [0, 1], float32 (B, 1, S, S), and with several types ``types`` int64 (B, S, S) type indices, `IGNORE`
        outside objects.
        Classification: int64 (B,), or float32 (B, C) where tiles are mixed. Detection: ``boxes`` (N, 4) left, upper, right,
        lower edge in px and ``labels`` (N,) class values of each tile.
    """

    images: Tensor
    targets: Targets


class LabelledTiles:
    """Labelled images as tiles, one for each tile-sized area (classification: one for each image).

    Parameters
    ----------
    images
        Some of the images of `labelled`, such as one part.
    labelled
        The set, for its task and classes.
    config
        Augmentation, labels, seed.
    tile
        Edge S of the tiles, in px.
    mpp
        µm per pixel that the images are brought to where their scale is known; None keeps it.
    memory
        Bytes of decoded images kept at most; None: a quarter of the free memory.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        labelled: LabelledSet,
        config: FinetuneConfig,
        *,
        tile: int,
        mpp: float | None,
        memory: int | None = None,
    ) -> None:
        self.images, self.labelled, self.config, self.tile = tuple(images), labelled, config, tile
        changes = self._changes
        whole = labelled.task == "classification"
        self._area = tile if whole else ceil(tile / typical_edge(changes.crop_scale, changes.crop_ratio))
        self._prepared = PreparedImages(self.images, labelled, config, self._area, mpp, memory)
        self._places = [place for index, image in enumerate(images) for place in self._grid(index, image, mpp)]

    def __len__(self) -> int:
        """Tiles of one epoch."""
        return len(self._places)

    @property
    def weights(self) -> NDArray[np.float64]:
        """How often to draw each tile, mean 1, float (N,): all 1 unless rare classes are to be drawn more often."""
        if self.config.labels.balance != "sampling":
            return np.ones(len(self))
        of_images = image_weights(self.images, self.labelled)
        weights = of_images[[index for index, _, _ in self._places]]
        result: NDArray[np.float64] = weights / weights.mean() if len(weights) else weights
        return result

    def class_weights(self) -> tuple[float, ...]:
        """Return the weight of each class in the loss: all 1 unless rare classes are to count more."""
        if self.config.labels.balance != "weights":
            return (1.0,) * len(self.labelled.classes)
        return class_weights(self.images, self.labelled)

    def batch(self, indices: Indices, epoch: int, augmented: bool = True, draws: Indices | None = None) -> Batch:
        """Return tiles and their targets.

        Parameters
        ----------
        indices
            Which tiles, int64 (B,), each below ``len(self)``.
        epoch
            For the random numbers.
        augmented
            Cut and change at random; else the tile of the grid (classification: the centre) as it is.
        draws
            Numbers that the randomness of each tile depends on, instead of its index: a tile that is drawn several times in an
            epoch is then another crop each time.

        Raises
        ------
        InvalidImageError
            If a file that was readable no longer is.
        """
        draws = indices if draws is None else draws
        if self.labelled.task == "classification":
            return self._classified(indices, draws, epoch, augmented)
        tiles, maps, boxes = self._cut(indices, draws, epoch, augmented)
        if not augmented:
            return Batch(_as_images(tiles), self._targets(maps, None, boxes))
        draw = draw_augmentation(self.config.seed, epoch, draws)
        images = brighten(
            augment(tiles, draw, self._changes, self.tile), self.config.augmentation.brightness, self._key(epoch), draws
        )
        return Batch(images, self._targets(maps, draw, boxes))

    @property
    def _changes(self) -> AugmentationConfig:
        wanted = self.config.augmentation
        return AugmentationConfig(
            crop_scale=wanted.crop_scale, flip=wanted.flip, rotate90=wanted.rotate90, stain_jitter=wanted.stain_jitter
        )

    def _key(self, epoch: int) -> tuple[int, int]:
        return self.config.seed, epoch

    def _grid(self, index: int, image: LabelledImage, mpp: float | None) -> list[Place]:
        """Return (image, row, column) of the tiles of an image; a classified image is one tile, its centre."""
        if self.labelled.task == "classification":
            return [(index, -1, -1)]
        height, width = (max(length, self.tile) for length in scaled_size(image.size, image.mpp, mpp))
        return [(index, int(row), int(col)) for row in grid_starts(height, self.tile) for col in grid_starts(width, self.tile)]

    def _cut(
        self, indices: Indices, draws: Indices, epoch: int, augmented: bool
    ) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
        """Cut tiles, or the larger areas that crops are taken from: uint8 (B, E, E, 3), maps float32 (B, C, E, E), and boxes."""
        numbers = uniforms(self.config.seed, epoch, draws, 3, PLACE)
        edge = self._area if augmented else self.tile
        tiles = np.empty((len(indices), edge, edge, 3), np.uint8)
        maps, boxes = [], []
        for place, index in enumerate(indices):
            which, row, column = self._places[index]
            prepared = self._prepared[which]
            row, column = self._random_place(prepared, numbers[place]) if augmented else self._inside(prepared, row, column)
            area = slice(row, row + edge), slice(column, column + edge)
            tiles[place] = prepared.image[area]
            maps.append(prepared.maps[:, *area])
            boxes.append(boxes_in_tile(prepared.boxes, prepared.values, row, column, edge))
        return torch.from_numpy(tiles), torch.from_numpy(np.stack(maps).astype(np.float32)), boxes

    def _inside(self, prepared: Prepared, row: int, column: int) -> tuple[int, int]:
        """Return a place of the grid, or the centre where it is -1."""
        spare = [length - self.tile for length in prepared.image.shape[:2]]
        return (row, column) if row >= 0 else (spare[0] // 2, spare[1] // 2)

    def _random_place(self, prepared: Prepared, numbers: NDArray[np.float64]) -> tuple[int, int]:
        """Return where the area of a crop begins; one that shows nothing labelled is moved to show a random labelled pixel."""
        spare = np.array(prepared.image.shape[:2]) - self._area
        row, column = np.floor(numbers[:2] * (spare + 1)).astype(int)
        if prepared.gaps and (prepared.maps[0, row : row + self._area, column : column + self._area] == IGNORE).all():
            labelled = np.flatnonzero(prepared.maps[0] != IGNORE)
            if len(labelled):
                pixel = np.array(divmod(labelled[int(numbers[2] * len(labelled))], prepared.maps.shape[2]))
                row, column = (pixel - np.floor(numbers[:2] * self._area)).clip(0, spare).astype(int)
        return int(row), int(column)

    def _targets(self, maps: Tensor, draw: Draw | None, boxes: list[dict[str, Tensor]]) -> Targets:
        """Move maps or boxes as the tiles were moved, and return them as the losses need them."""
        if self.labelled.task == "detection":
            return boxes if draw is None else move_boxes(boxes, *placement(draw, self._changes, self._area), self.tile)
        exact = maps if draw is None else augment_maps(maps, draw, self._changes, self.tile, "nearest")
        if self.labelled.task == "segmentation":
            return exact[:, 0].long()
        smooth = maps[:, 1:2] if draw is None else augment_maps(maps[:, 1:2], draw, self._changes, self.tile, "bilinear")
        targets = {"foreground": exact[:, 0:1], "separation": (smooth / FULL).clamp(max=1)}
        return targets | ({"types": exact[:, 2].long()} if maps.shape[1] > 2 else {})

    def _classified(self, indices: Indices, draws: Indices, epoch: int, augmented: bool) -> Batch:
        labels = torch.tensor([self._prepared[self._places[index][0]].label for index in indices], dtype=torch.int64)
        if not augmented:
            return Batch(_as_images(self._cut(indices, draws, epoch, False)[0]), labels)
        wanted = self.config.augmentation
        images = self._views(indices, draws, epoch, wanted)
        if not (wanted.mixup or wanted.cutmix):
            return Batch(images, labels)
        how: Mixing = draw_mixing(self._key(epoch), draws, len(self), wanted.mixup, wanted.cutmix, self.tile)
        others = self._views(how.partners, how.partners, epoch, wanted)
        others_labels = torch.tensor([self._prepared[self._places[index][0]].label for index in how.partners], dtype=torch.int64)
        classes = len(self.labelled.classes)
        return Batch(mix(images, others, how), mix_targets(labels, others_labels, how, classes))

    def _views(self, indices: Indices, draws: Indices, epoch: int, wanted: LabelledAugmentation) -> Tensor:
        """Return classified tiles, changed at random but not mixed."""
        tiles, _, _ = self._cut(indices, draws, epoch, True)
        images = augment(tiles, draw_augmentation(self.config.seed, epoch, draws), self._changes, self.tile)
        key = self._key(epoch)
        images = brighten(images, wanted.brightness, key, draws)
        images = rand_augment(images, wanted.rand_augment, key, draws)
        return erase(images, wanted.erase, key, draws)


def _as_images(tiles: Tensor) -> Tensor:
    return tiles.permute(0, 3, 1, 2).float() / 255
