from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.batches.tile_loader import TileLoader
from napari_sdmae.data.tiles.cache import TileCache, open_cache, prepare_tiles


@pytest.fixture(scope="module")
def tile_cache(tissue: Path, tmp_path_factory: pytest.TempPathFactory) -> TileCache:
    folder = tmp_path_factory.mktemp("loading")
    source = shutil.copytree(tissue / "tiles" / "skin", folder / "data")
    settings = TilesConfig(cache=folder / "cache")
    list(prepare_tiles(source, settings))
    return open_cache(source, settings)


def devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.mark.parametrize("device", devices())
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_batches_are_the_tiles_asked_for(tile_cache, device, share):
    loader = TileLoader(tile_cache, torch.device(device), share)
    assert loader.on_device == (device == "cuda" and share > 0)
    generator = np.random.default_rng(0)
    for _ in range(5):
        indices = generator.integers(0, len(tile_cache.tiles), 7)
        batch = loader.batch(indices)
        assert batch.device.type == device
        assert np.array_equal(batch.cpu().numpy(), tile_cache.tiles[indices])


@pytest.mark.parametrize("device", devices())
def test_announced_batches_are_the_same(tile_cache, device):
    loader = TileLoader(tile_cache, torch.device(device), share=0)
    order = np.random.default_rng(0).permutation(len(tile_cache.tiles)).reshape(-1, 5)
    batches = [loader.batch(now, following) for now, following in zip(order, [*order[1:], None], strict=True)]
    for indices, batch in zip(order, batches, strict=True):
        assert np.array_equal(batch.cpu().numpy(), tile_cache.tiles[indices])


def test_a_batch_other_than_announced(tile_cache):
    loader = TileLoader(tile_cache, torch.device("cpu"))
    loader.batch(np.array([0, 1]), following=np.array([2, 3]))
    assert np.array_equal(loader.batch(np.array([4, 5])).numpy(), tile_cache.tiles[4:6])
    assert np.array_equal(loader.batch(np.array([2, 3])).numpy(), tile_cache.tiles[2:4])


def test_changing_a_batch_leaves_the_cache_alone(tile_cache):
    loader = TileLoader(tile_cache, torch.device("cpu"))
    before = tile_cache.tiles[3].copy()
    loader.batch(np.array([3])).zero_()
    assert np.array_equal(loader.batch(np.array([3]))[0].numpy(), before)


def test_wrong_index(tile_cache):
    with pytest.raises(IndexError):
        TileLoader(tile_cache, torch.device("cpu")).batch(np.array([len(tile_cache.tiles)]))
