"""Pictures and their scale: files of any kind as 8-bit RGB, whole, in bands or in blocks. No torch."""

from napari_sdmae.io.images.read import InvalidImageError, image_size, read_bands, read_header, read_image
from napari_sdmae.moved import renamed

__all__ = ["InvalidImageError", "image_size", "read_bands", "read_header", "read_image"]


__getattr__ = renamed(__name__, UnusableImage="InvalidImageError")
