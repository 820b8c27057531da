from collections.abc import Iterator
from typing import Any

import pytest
from fake_gpu import AtOnce, Waits, fake_gpu
from torch.utils._python_dispatch import _disable_current_modes

from napari_sdmae.models.memory import TrainingMemory, training_memory


def on_meta(*arguments: Any, **named: Any) -> TrainingMemory:
    """Estimate the memory without the fake GPU: the meta device that it builds a model on is none of its devices."""
    with _disable_current_modes():
        return training_memory(*arguments, **named)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """A GPU that computes nothing, with 80 GB; see :mod:`fake_gpu`."""
    monkeypatch.setattr("napari_sdmae.data.loading.ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr("napari_sdmae.training.head_loading.ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr("napari_sdmae.training.engine.training_memory", on_meta)
    with fake_gpu(monkeypatch) as waits:
        yield waits
