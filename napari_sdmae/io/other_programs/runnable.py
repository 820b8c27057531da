"""A head as one function of pixels, which can be traced: what its answers mean is inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.heads.head_model import HeadModel

OUTPUTS = {"classification": ("probabilities",), "segmentation": ("probabilities",), "instances": ("foreground", "separation")}
"""What a head of each task answers, in this order; of several types of objects also ``types``."""


class ClassLogits(nn.Module):
    """Logits (B, C) of normalised tiles (B, 3, S, S), divided by the temperature: a softmax gives calibrated probabilities."""

    def __init__(self, model: HeadModel) -> None:
        super().__init__()
        self.model = _plain(model)
        self.temperature = model.spec.temperature

    def forward(self, tiles: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.model(tiles)
        return logits / self.temperature


class Answers(nn.Module):
    """Answers in [0, 1] to tiles (B, 3, S, S) of RGB in [0, 1]: the :data:`OUTPUTS` of the task."""

    def __init__(self, model: HeadModel) -> None:
        super().__init__()
        self.model = _plain(model)
        self.temperature = model.spec.temperature

    def forward(self, tiles: Tensor) -> Any:
        """Return one tensor, or several."""
        output = self.model((tiles - self.model.mean) / self.model.std)
        if self.model.spec.task == "classification":
            return (output / self.temperature).softmax(1)
        if self.model.spec.task == "segmentation":
            return output.logits.softmax(1)
        maps = (output.foreground.sigmoid(), output.separation.sigmoid())
        return maps if output.types is None else (*maps, output.types.softmax(1))


def output_names(model: HeadModel) -> tuple[str, ...]:
    """Return the names of what :class:`Answers` gives."""
    typed = model.spec.task == "instances" and len(model.spec.classes) > 1
    return (*OUTPUTS[model.spec.task], *(("types",) if typed else ()))


def example(model: HeadModel, batch: int = 2) -> Tensor:
    """Return tiles of the size that the head expects, RGB in [0, 1], the same every time."""
    edge = model.spec.tile_size
    return torch.rand(batch, 3, edge, edge, generator=torch.Generator().manual_seed(0))


def _plain(model: HeadModel) -> HeadModel:
    """Return the model in use, with attention by matrix products, which every runtime knows."""
    set_attention(model, explicit=True)
    return model.cpu().eval()
