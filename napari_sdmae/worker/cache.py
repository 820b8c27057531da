"""What the warm worker keeps in memory: the models used last, and the fields encoded last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch

from napari_sdmae.inference.attention.encode import AttentionState, encode_field
from napari_sdmae.inference.scribbles.classifier import WindowTokens, encode_windows
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.io.checkpoints.load import Encoder, ModelInfo, load_encoder, load_model
from napari_sdmae.io.model_info.info import fingerprint
from napari_sdmae.models import SDMAE
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.typing import RGB

Value = TypeVar("Value")


class LRUCache(Generic[Value]):
    """The `size` values used last; a missing one is made."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`, from ``make()`` if it is not there; the one used longest ago goes."""
        value = self._values.pop(key) if key in self._values else make()
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()


class ModelCache:
    """Models by folder, fingerprint of their files and device; fields by their pixels and their model.

    Two encoders, two heads, one whole model, four fields and three sets of windows are kept, so that two models can be
    compared on two fields without waiting.
    """

    def __init__(self) -> None:
        self._encoders: LRUCache[Encoder] = LRUCache(2)
        self._models: LRUCache[SDMAE] = LRUCache(1)
        self._fields: LRUCache[AttentionState] = LRUCache(4)
        self._heads: LRUCache[HeadModel] = LRUCache(2)
        self._windows: LRUCache[WindowTokens] = LRUCache(3)

    def encoder(self, info: ModelInfo, device: str) -> Encoder:
        """Return the encoder of a model."""
        return self._encoders.get(_key(info, device), lambda: load_encoder(info.folder, device))

    def model(self, info: ModelInfo, device: str) -> SDMAE:
        """Return a model with its decoder."""
        return self._models.get(_key(info, device), lambda: load_model(info.folder, device))

    def head(self, folder: Path, files: str, device: str) -> HeadModel:
        """Return a head with its encoder; `files` is the fingerprint of its files."""
        return self._heads.get((str(folder.resolve()), files, device), lambda: load_head(folder, device))

    def field(self, info: ModelInfo, device: str, image: RGB, downsample: int) -> tuple[AttentionState, bool]:
        """Return an encoded field, and whether it was there already."""
        key = (*_key(info, device), *_pixels(image), downsample)
        known = key in self._fields
        return self._fields.get(key, lambda: encode_field(self.encoder(info, device), image, downsample=downsample)), known

    def windows(
        self, info: ModelInfo, device: str, image: RGB, detail: int, seen: Callable[[], RGB]
    ) -> tuple[WindowTokens, bool]:
        """Return the tokens of a field that is `seen` enlarged by `detail`, and whether they were there already."""
        key = (*_key(info, device), *_pixels(image), detail)
        known = key in self._windows
        return self._windows.get(key, lambda: encode_windows(self.encoder(info, device), seen())), known

    def clear(self) -> None:
        """Forget all, and give the GPU its memory back."""
        for cache in (self._encoders, self._models, self._fields, self._heads, self._windows):
            cache.clear()
        torch.cuda.empty_cache()


MODEL_CACHE = ModelCache()
"""The one of this process."""


def _pixels(image: RGB) -> tuple[bytes, tuple[int, ...]]:
    return blake2b(np.ascontiguousarray(image).data).digest(), image.shape


def _key(info: ModelInfo, device: str) -> tuple[str, str, str]:
    return str(info.folder.resolve()), fingerprint(info.folder), device
