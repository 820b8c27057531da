"""Pictures and their scale: files of any kind as 8-bit RGB, whole, in bands or in blocks. No torch."""

from napari_sdmae.io.images.read import UnusableImage, image_size, read_bands, read_header, read_image

__all__ = ["UnusableImage", "image_size", "read_bands", "read_header", "read_image"]
