"""The SD-MAE model: masking, position codes, encoder, decoder, heads."""

from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.masking import masked_count, random_mask
from napari_sdmae.models.reconstruction import ReconstructedTiles, reconstruct_tiles
from napari_sdmae.models.sdmae import SDMAE, SDMAEOutput, freeze_unused

__all__ = [
    "SDMAE",
    "ReconstructedTiles",
    "SDMAEOutput",
    "freeze_unused",
    "masked_count",
    "random_mask",
    "reconstruct_tiles",
    "set_attention",
]
