from collections.abc import Iterator

import pytest
from fake_gpu import AtOnce, Waits, fake_gpu, on_meta


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """A GPU that computes nothing, with 80 GB; see :mod:`fake_gpu`."""
    monkeypatch.setattr("napari_sdmae.data.batches.tile_loader.ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr("napari_sdmae.training.finetuning.loader.ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr("napari_sdmae.training.pretraining.engine.training_memory", on_meta)
    with fake_gpu(monkeypatch) as waits:
        yield waits
