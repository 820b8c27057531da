"""Shared fixtures. Never imports torch or timm: GUI tests share this file (architecture: the viewer process is torch-free)."""

from importlib import resources
from pathlib import Path

import pytest
from faults.terminal import hear_signals

hear_signals()


@pytest.fixture(scope="session")
def tissue() -> Path:
    """Folder of the shipped H&E tissue."""
    return Path(str(resources.files("napari_sdmae.resources") / "tissue"))
