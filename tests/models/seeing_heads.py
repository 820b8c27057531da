"""Heads that see brightness, so that what they predict is known at any scale; and pictures of discs, which they see as nuclei."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.models.heads.head_model import HeadModel

RGB = NDArray[np.uint8]
TILE = 64


def head(task: str, classes: int = 1, decoder: str = "linear") -> HeadModel:
    """A small head with random weights for tiles of 64 px at 0.5 µm/px."""
    first = 0 if task in ("segmentation", "classification") else 1
    encoder = {"width": 48, "depth": 2, "heads": 3, "tile_size": TILE}
    settings = {"decoder": decoder, "width": 16, "smallest": 2.0}
    config = FinetuneConfig(task=task, data="x", encoder=encoder, mpp=0.5, head=settings)
    return new_head(config, make_classes([f"kind {number}" for number in range(classes)], first)).eval()


class Seeing(nn.Module):
    """Stands where a trained head is: says what a rule reads from the brightness of the pixels, 0 black to 1 white."""

    def __init__(self, model: HeadModel, rule: Callable[[Tensor], object]) -> None:
        super().__init__()
        self._rule, self._mean, self._std = rule, model.mean, model.std

    def forward(self, _encoder: nn.Module, images: Tensor, _targets: object = None) -> object:
        return self._rule((images * self._std + self._mean).mean(1, keepdim=True))


def seeing(model: HeadModel, rule: Callable[[Tensor], object]) -> HeadModel:
    model.head = Seeing(model, rule)
    return model


def dark_or_bright(bright: Tensor) -> tuple[Tensor, None]:
    """Class 0 where it is bright, class 1 where it is dark."""
    return torch.cat([20 * (bright - 0.5), 20 * (0.5 - bright)], 1), None


def nuclei_rule(bright: Tensor) -> tuple[Tensor, None]:
    """Dark is inside; the darker the farther from the edge, as :func:`discs` are painted."""
    depth = ((0.6 - bright) / 0.6).clamp(0, 1)
    return torch.cat([(0.62 - bright) * 60, torch.logit(depth, 1e-4)], 1), None


def boxes_rule(bright: Tensor) -> list[dict[str, Tensor]]:
    """Return a box around each dark thing in a window."""
    answers = []
    for one in bright[:, 0]:
        places = ndimage.find_objects(ndimage.label((one < 0.3).numpy())[0])
        edges = [(part[1].start, part[0].start, part[1].stop, part[0].stop) for part in places]
        boxes = torch.tensor(edges, dtype=torch.float32).reshape(-1, 4)
        answers.append({"boxes": boxes, "labels": torch.full((len(boxes),), 1), "scores": torch.full((len(boxes),), 0.9)})
    return answers


def discs(size: int, centres: list[tuple[float, float, float]]) -> tuple[RGB, NDArray[np.int32]]:
    """White with dark discs (row, column, radius) that grow darker to their middles, and their numbers."""
    rows, columns = np.mgrid[:size, :size]
    brightness, truth = np.full((size, size), 0.9), np.zeros((size, size), np.int32)
    for number, (row, column, radius) in enumerate(centres, 1):
        distance = np.hypot(rows - row, columns - column)
        brightness = np.minimum(brightness, np.where(distance <= radius, 0.6 * distance / radius, 0.9))
        truth[(distance <= radius) & (truth == 0)] = number
    return np.repeat(np.rint(brightness * 255).astype(np.uint8)[..., None], 3, 2), truth


def many_discs(size: int, apart: int = 30, radius: float = 9.0) -> tuple[RGB, NDArray[np.int32]]:
    random = np.random.default_rng(0)
    centres = [
        (row + random.uniform(-4, 4), column + random.uniform(-4, 4), random.uniform(0.7, 1.0) * radius)
        for row in range(apart, size - apart + 1, apart)
        for column in range(apart, size - apart + 1, apart)
    ]
    return discs(size, centres)
