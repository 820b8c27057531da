"""A field of real tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sdmae.io.images.read import read_image

RGB = NDArray[np.uint8]


@pytest.fixture(scope="module")
def skin(tissue: Path) -> RGB:
    return read_image(tissue / "regions" / "skin_morphea.jpg")[600:1000, 500:850]
