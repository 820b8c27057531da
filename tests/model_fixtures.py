"""A small SD-MAE with random weights, saved as people have it, and real tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.checkpoints.load import save_model
from napari_sdmae.models import SDMAE

SMALL = ModelConfig(
    encoder_width=48,
    encoder_depth=3,
    encoder_heads=3,
    tile_size=64,
    decoder_width=24,
    decoder_depth=1,
    decoder_heads=2,
    head_hidden=16,
    head_bottleneck=8,
    head_outputs=16,
)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model for 64 px tiles of 16 px patches that predicts patches normalised per channel."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model(folder, SDMAE(SMALL), metadata={"target_normalisation": "patch_channel", "mpp": 0.5})
    return folder


@pytest.fixture(scope="session")
def tissue_tile(tissue: Path) -> NDArray[np.uint8]:
    """One tile of real tissue, uint8 RGB."""
    return np.asarray(Image.open(sorted(tissue.glob("tiles/*/*.jpg"))[0]).convert("RGB"))
