"""What a model folder is, read from its files without loading the model. No torch."""

from napari_sdmae.io.model_info.info import ModelInfo, find_model, model_info

__all__ = ["ModelInfo", "find_model", "model_info"]
