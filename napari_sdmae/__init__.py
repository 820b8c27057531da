"""napari-sdmae: SD-MAE pre-training on histology, and a look into it, from napari and the command line."""

from napari_sdmae.moved import forward

__version__ = "0.1.0"

forward()
