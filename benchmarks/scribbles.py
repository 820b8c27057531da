"""Scribbles: seconds to the first answer on a field, and after one more stroke (2 s were asked for).

    python benchmarks/scribbles.py [--fields 1024 2048] [--threads 2]

Real tissue, four strokes of each of three classes, encoders with random weights: what they cost does not depend on them. Each
request is the worker's own (``worker.protocol.handle``): hashing, encoding, fit, map, agreement. The fastest round counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from machine import write_result

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.inference.scribbles.samples import Method
from napari_sdmae.io.checkpoints.load import save_model
from napari_sdmae.io.images.read import read_image
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.models import SDMAE
from napari_sdmae.worker.cache import MODEL_CACHE
from napari_sdmae.worker.protocol import ScribbleRequest, ScribbleResult, handle

MODELS = {
    "ViT-S/16, tiles of 224 px": ModelConfig(),
    "ViT-Ti/8, 6 blocks, tiles of 96 px": ModelConfig(
        encoder="vit_tiny_patch16_224",
        encoder_depth=6,
        patch_size=8,
        tile_size=96,
        decoder_width=96,
        decoder_depth=1,
        decoder_heads=3,
    ),
}
CLASSES = make_classes(["epidermis", "stroma", "fat"], first=1)
ROUNDS = 3


def strokes(field: int, count: int) -> dict[str, Any]:
    """Return `count` strokes of 12 × 80 px, the classes in turn."""
    generator = np.random.default_rng(0)
    positions, values, numbers = [], [], []
    for number in range(count):
        top, left = generator.integers(0, field - 100, 2)
        rows, columns = np.mgrid[top : top + 12, left : left + 80]
        positions.append(np.stack([rows.ravel(), columns.ravel()], 1))
        values.append(np.full(rows.size, number % 3 + 1))
        numbers.append(np.full(rows.size, number))
    return {
        "positions": np.concatenate(positions).astype(np.float32),
        "values": np.concatenate(values),
        "strokes": np.concatenate(numbers),
    }


def timed(request: ScribbleRequest) -> tuple[dict[str, float], ScribbleResult]:
    """Return wall and CPU seconds, and the result; on a busy machine the CPU time of one thread says more."""
    wall, cpu = time.perf_counter(), time.process_time()
    told = handle(request)
    return {"wall_s": round(time.perf_counter() - wall, 3), "cpu_s": round(time.process_time() - cpu, 3)}, told


def measure(model: Path, field: np.ndarray) -> dict[str, Any]:
    """Return the seconds of a first answer, and the least of the next ones with each classifier."""

    def request(count: int, method: Method) -> ScribbleRequest:
        return ScribbleRequest(str(model), field, classes=CLASSES, method=method, **strokes(len(field), count))

    MODEL_CACHE.clear()
    rows: dict[str, Any] = {"first answer": timed(request(12, "linear"))[0]}
    for method in get_args(Method):
        rounds = []
        for number in range(ROUNDS):
            seconds, told = timed(request(13 + number, method))
            assert told.cached
            rounds.append(seconds | {name: round(value, 3) for name, value in told.seconds.items()})
        rows[f"one more stroke, {method}"] = min(rounds, key=lambda row: row["cpu_s"])
    return rows


def main() -> None:
    """Measure, print a table and write benchmarks/results/scribbles.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, nargs="+", default=[1024, 2048], help="edges in px")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    regions = Path(str(resources.files("napari_sdmae.resources"))) / "tissue" / "regions"
    tissue = read_image(regions / "skin_morphea.jpg")
    figures: dict[str, Any] = {"threads": given.threads}
    for title, config in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            save_model(Path(folder), SDMAE(config))
            for edge in given.fields:
                rows = measure(Path(folder), np.ascontiguousarray(tissue[:edge, :edge]))
                for name, row in rows.items():
                    print(f"{title}, {edge} px, {name}: {row}", flush=True)
                figures[f"{title}, {edge} px"] = rows
    write_result("scribbles", figures)


if __name__ == "__main__":
    main()
