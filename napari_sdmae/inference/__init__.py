"""Look into a trained model: masked reconstruction and attention of one field of tissue.

Names are imported when they are first used: the viewer imports :mod:`napari_sdmae.inference.queries`, and never loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sdmae.inference.attention import AttentionMap, attention_maps
    from napari_sdmae.inference.encode import AttentionState, encode_field
    from napari_sdmae.inference.reconstruction import Reconstruction, reconstruct

__all__ = ["AttentionMap", "AttentionState", "Reconstruction", "attention_maps", "encode_field", "reconstruct"]

_HOME = {
    "AttentionMap": "attention",
    "attention_maps": "attention",
    "AttentionState": "encode",
    "encode_field": "encode",
    "Reconstruction": "reconstruction",
    "reconstruct": "reconstruction",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
