"""Shared fixtures. Never imports torch or timm: GUI tests share this file (architecture: the viewer process is torch-free)."""

import gc
from importlib import resources
from pathlib import Path

import pytest
from faults.terminal import hear_signals

hear_signals()


@pytest.fixture(scope="session")
def tissue() -> Path:
    """Folder of the shipped H&E tissue."""
    return Path(str(resources.files("napari_sdmae.resources") / "tissue"))


def pytest_collection_finish() -> None:
    """Take what is imported by now out of the garbage collector's rounds: napari collects with each window that it closes."""
    gc.collect()
    gc.freeze()
