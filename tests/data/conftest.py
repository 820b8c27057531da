"""Small trees of the published layouts, made from the shipped tissue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.io.images.read import read_image


@pytest.fixture(scope="session")
def pictures(tissue: Path) -> list[np.ndarray]:
    """24 tiles of tissue, 128 px, of several organs."""
    return [read_image(path)[:128, :128] for path in sorted(tissue.glob("tiles/*/*.jpg"))[::10][:24]]


@pytest.fixture(scope="session")
def nuclei(tissue: Path) -> Path:
    """Folder of stained images with object numbers that ships."""
    return tissue.parent / "nuclei"


def dark_objects(picture: np.ndarray) -> np.ndarray:
    """Number the dark places of a picture, uint16."""
    objects, _ = label(picture.mean(axis=2) < 130, return_num=True)
    return objects.astype(np.uint16)


def regions(picture: np.ndarray) -> np.ndarray:
    """Return three classes of brightness, uint8: 0 bright, 1 middle, 2 dark."""
    grey = picture.mean(axis=2)
    return ((grey < 190).astype(np.uint8) + (grey < 140)).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def masks(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    """Ten images with masks of the classes 0, 1 and 2."""
    for index, picture in enumerate(pictures[:10]):
        save(tmp_path / "images" / f"case{index}.png", picture)
        mask = regions(picture)
        mask[:3, :3] = [0, 1, 2]
        save(tmp_path / "masks" / f"case{index}.png", mask)
    return tmp_path


@pytest.fixture
def settings() -> Callable[..., FinetuneConfig]:
    """Return settings of a task and folder, with changes."""
    return lambda task, data, **changes: FinetuneConfig.model_validate({"task": task, "data": data} | changes)
