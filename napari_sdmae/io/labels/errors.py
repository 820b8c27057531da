"""The error of files that cannot be read as labels."""

from __future__ import annotations

from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.moved import renamed


class InvalidLabelsError(InvalidImageError):
    """A file that cannot be read as labels; the message is the reason, without the file's name."""


__getattr__ = renamed(__name__, UnusableLabels="InvalidLabelsError")
