"""What a model folder is, read from its files without loading the model. No torch."""

from napari_sdmae.io.model_info.info import ModelInfo, find_model, model_info
from napari_sdmae.moved import renamed

__all__ = ["ModelInfo", "find_model", "model_info"]


__getattr__ = renamed(
    __name__,
    default_model="io.model_info.info:default_model",
    shipped_heads="io.model_info.info:shipped_heads",
    shipped_models="io.model_info.info:shipped_models",
)
