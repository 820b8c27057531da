"""Modules that users may import have moved, and errors were renamed: the old names work, with a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

MOVED = {
    "finetune_config": "config.finetune",
    "head_losses": "losses.heads",
    "head_presets": "config.presets",
    "head_spec": "config.head",
    "inference.encode": "inference.attention.encode",
    "inference.predicting": "inference.prediction.predict",
    "io.coco": "io.labels.coco.write",
    "io.convert": "io.checkpoints.convert",
    "io.files": "io.atomic",
    "io.geojson": "io.labels.geojson.write",
    "io.head_folder": "io.checkpoints.head_folder",
    "io.intensity": "io.images.intensity",
    "io.scale": "io.images.scale",
    "label_layers": "layers.labels",
    "label_map": "labels.label_map",
    "patches": "models.patches",
    "randomness": "rng",
    "shape_layers": "layers.shapes",
    "training.ablation_settings": "config.ablation",
    "training.describe": "runs.describe",
    "training.evaluation": "training.finetuning.evaluate",
    "training.events": "runs.events",
    "training.run_folder": "runs.folder",
    "training.run_list": "runs.run_list",
    "training.status": "runs.status",
}


class _Forwarder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name.removeprefix("napari_sdmae.") in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        new = f"napari_sdmae.{MOVED[module.__name__.removeprefix('napari_sdmae.')]}"
        warnings.warn(f"{module.__name__} is now {new}", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(new)


def renamed(module: str, **names: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of `module`, which gives what had one of the old `names` by its new one, with a warning."""

    def lookup(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now {names[name]}", DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[module], names[name])

    return lookup


def forward() -> None:
    """Let the old names be imported; last in line, so that nothing else is slowed down."""
    if not any(isinstance(finder, _Forwarder) for finder in sys.meta_path):
        sys.meta_path.append(_Forwarder())
