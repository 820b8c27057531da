"""The SD-MAE model: masking, position codes, encoder, decoder, heads."""

from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.masking import num_masked, random_mask
from napari_sdmae.models.reconstruction import ReconstructedTiles, reconstruct_tiles
from napari_sdmae.models.sdmae import SDMAE, SDMAEOutput, freeze_unused
from napari_sdmae.moved import renamed

__all__ = [
    "SDMAE",
    "ReconstructedTiles",
    "SDMAEOutput",
    "freeze_unused",
    "num_masked",
    "random_mask",
    "reconstruct_tiles",
    "set_attention",
]


__getattr__ = renamed(__name__, masked_count="num_masked")
