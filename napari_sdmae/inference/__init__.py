"""Use a trained model: masked reconstruction, attention, features, and what its heads say about tissue.

Names are imported when they are first used: the viewer imports :mod:`napari_sdmae.inference.queries`, and never loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sdmae.inference.attention import AttentionMap, attention_maps
    from napari_sdmae.inference.embedding import embed
    from napari_sdmae.inference.encode import AttentionState, encode_field
    from napari_sdmae.inference.measuring import measure
    from napari_sdmae.inference.predicting import predict
    from napari_sdmae.inference.prediction import Prediction
    from napari_sdmae.inference.reconstruction import Reconstruction, reconstruct

__all__ = [
    "AttentionMap",
    "AttentionState",
    "Prediction",
    "Reconstruction",
    "attention_maps",
    "embed",
    "encode_field",
    "measure",
    "predict",
    "reconstruct",
]

_HOME = {
    "AttentionMap": "attention",
    "attention_maps": "attention",
    "AttentionState": "encode",
    "encode_field": "encode",
    "embed": "embedding",
    "measure": "measuring",
    "predict": "predicting",
    "Prediction": "prediction",
    "Reconstruction": "reconstruction",
    "reconstruct": "reconstruction",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
