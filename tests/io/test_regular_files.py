"""Pipes and devices in the place of files: nothing waits for them or reads them to their end."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_sdmae.data.image_folder import find_images
from napari_sdmae.data.listing import DataError
from napari_sdmae.io.images.read import InvalidImageError, image_size, read_image
from napari_sdmae.io.labels.registry import InvalidLabelsError, import_labels, pictures_in
from napari_sdmae.io.regular_files import ENDLESS

MAKE: dict[str, Callable[[Path], None]] = {"a pipe": os.mkfifo, "a device": lambda path: path.symlink_to("/dev/zero")}
READ = {
    **{f"{read.__name__}-{end}": (read, end) for read in (read_image, image_size) for end in ("png", "tif", "jpg", "ome.tif")},
    **{f"import_labels-{end}": (import_labels, end) for end in ("png", "tif", "ome.tif", "geojson", "json", "ome.zarr")},
    "pictures_in": (pictures_in, "json"),
    "find_images": (find_images, "png"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("read", READ)
def test_what_never_ends_is_refused_unopened(read: str, make: str, tmp_path: Path):
    function, end = READ[read]
    path = tmp_path / f"it.{end}"
    MAKE[make](path)
    with pytest.raises((InvalidImageError, InvalidLabelsError, DataError), match=ENDLESS):
        function(path)
