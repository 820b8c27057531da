"""Models from and to disk: ours, timm's, heads, and those of other programs. Needs torch."""

from napari_sdmae.io.checkpoints.convert import convert_checkpoint
from napari_sdmae.io.checkpoints.load import Encoder, load_encoder, load_model, save_model

__all__ = ["Encoder", "convert_checkpoint", "load_encoder", "load_model", "save_model"]
