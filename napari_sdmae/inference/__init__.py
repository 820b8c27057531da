"""Use a trained model: masked reconstruction, attention, features, and what its heads say about tissue.

Names are imported when they are first used, as most of them load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sdmae.inference.attention.encode import AttentionState, encode_field
    from napari_sdmae.inference.attention.maps import attention_maps
    from napari_sdmae.inference.attention.result import AttentionMap
    from napari_sdmae.inference.embedding.embed import embed
    from napari_sdmae.inference.measuring import measure
    from napari_sdmae.inference.prediction.predict import predict
    from napari_sdmae.inference.prediction.result import Prediction
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
    "AttentionMap": "attention.result",
    "attention_maps": "attention.maps",
    "AttentionState": "attention.encode",
    "encode_field": "attention.encode",
    "embed": "embedding.embed",
    "measure": "measuring",
    "predict": "prediction.predict",
    "Prediction": "prediction.result",
    "Reconstruction": "reconstruction",
    "reconstruct": "reconstruction",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
