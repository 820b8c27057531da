"""The tile cache: decoding, reading and augmenting 256 px tiles, per core (T5, T7).

``python benchmarks/tile_cache.py``. One thread, shipped tissue, everything in the system's file cache; variants are
interleaved and the fastest round counts, in wall and in CPU time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write_result
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.config.pretrain import AugmentationConfig, TilesConfig
from napari_sdmae.data.batches.augment import augment, draw_augmentation
from napari_sdmae.data.batches.tile_loader import TileLoader
from napari_sdmae.data.tiles.cache import open_cache, prepare_tiles
from napari_sdmae.data.tiles.grid import tissue_fraction
from napari_sdmae.io.images.read import read_image

ROUNDS = 7
BATCH = 64
TILES_PER_ROUND = 192


def measure(variants: dict[str, Callable[[], int]]) -> dict[str, dict[str, int]]:
    """Return tiles per second of each variant, by wall and by CPU time; a variant returns how many tiles it handled."""
    best = {name: {"tiles/s, wall": 0, "tiles/s, CPU": 0} for name in variants}
    for _ in range(ROUNDS):
        for name, run in variants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            tiles = run()
            rates = {"tiles/s, wall": tiles / (time.perf_counter() - wall), "tiles/s, CPU": tiles / (time.process_time() - cpu)}
            best[name] = {key: max(best[name][key], round(value)) for key, value in rates.items()}
    return best


def variants(source: Path, root: Path) -> dict[str, Callable[[], int]]:
    """Return what is compared."""
    settings = TilesConfig(cache=root)
    list(prepare_tiles(source, settings))
    cache = open_cache(source, settings)
    files = sorted(source.rglob("*.jpg"))[:TILES_PER_ROUND]
    orders = np.random.default_rng(0).permutation(len(cache.tiles))[:TILES_PER_ROUND].reshape(-1, BATCH)
    loader = TileLoader(cache, torch.device("cpu"))
    batch = loader.batch(orders[0])
    config = AugmentationConfig()

    def augmented(indices: NDArray[np.int64]) -> torch.Tensor:
        return augment(batch, draw_augmentation(0, 0, indices), config, 224)

    def each(function: Callable[[Any], Any], items: Any, size: int) -> Callable[[], int]:
        return lambda: size * len([function(item) for item in items])

    return {
        "decode, Pillow": each(lambda path: np.asarray(Image.open(path).convert("RGB")), files, 1),
        "decode, read_image": each(read_image, files, 1),
        "tissue filter": each(tissue_fraction, [batch.numpy()], BATCH),
        "cache, numpy gather": each(lambda indices: cache.tiles[indices], orders, BATCH),
        "cache, TileLoader": each(loader.batch, orders, BATCH),
        "augment to 224 px": each(augmented, orders[:1], BATCH),
    }


def main() -> None:
    """Print a table and write it with machine and date."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tissue = Path(str(resources.files("napari_sdmae.resources") / "tissue" / "tiles"))
        results = measure(variants(tissue, Path(folder)))
    for name, rates in results.items():
        print(f"{name:22}", *(f"{value:>10,} {key}" for key, value in rates.items()))
    write_result("tile_cache", {"results": results})


if __name__ == "__main__":
    main()
