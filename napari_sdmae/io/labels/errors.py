"""The error of files that cannot be read as labels."""

from __future__ import annotations

from napari_sdmae.io.images.read import UnusableImage


class UnusableLabels(UnusableImage):
    """A file that cannot be read as labels; the message is the reason, without the file's name."""
