"""Tiles per second and core that fine-tuning gets out of labelled images in memory, by task and tile size.

    python benchmarks/labelled_tiles.py

Writes results/labelled_tiles.json.
"""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write_result

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.presets import load_head_preset
from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.labelled.read import read_labelled

SHIPPED = Path(str(resources.files("napari_sdmae.resources")))
BATCH = 32
SECONDS = 2.0
CASES = (
    ("instances", "nuclei", {}),
    ("classification", "tissue/tiles", {}),
    ("classification", "tissue/tiles", load_head_preset("paper-classification")["augmentation"]),
)


def measure(task: str, folder: str, changes: dict[str, Any], edge: int) -> float:
    """Return augmented tiles per second of processor time, after the first pass has decoded the images."""
    config = FinetuneConfig.model_validate({"task": task, "data": SHIPPED / folder, "augmentation": changes})
    labelled = read_labelled(config)
    tiles = LabelledTiles(labelled.images, labelled, config, tile=edge, mpp=None)
    order = np.arange(len(tiles) // BATCH * BATCH).reshape(-1, BATCH)
    for indices in order:
        tiles.batch(indices, 0)
    done, start, epoch = 0, time.process_time(), 0
    while time.process_time() - start < SECONDS:
        epoch += 1
        for indices in order:
            tiles.batch(indices, epoch)
            done += len(indices)
    return done / (time.process_time() - start)


def main() -> None:
    """Print the table and write it."""
    torch.set_num_threads(1)
    figures = {}
    for task, folder, changes in CASES:
        kind = "the paper's" if changes else "default augmentation"
        for edge in (96, 224):
            rate = measure(task, folder, changes, edge)
            figures[f"{task}, {kind}, {edge} px"] = round(rate)
            print(f"{task:<16}{kind:<24}{edge:>4} px{rate:>8.0f} tiles/s and core")
    write_result("labelled_tiles", {"tiles_per_core_s": figures})


if __name__ == "__main__":
    main()
