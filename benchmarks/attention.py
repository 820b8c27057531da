"""Attention maps: what they cost beside the bare encoder (T8), and what a click costs in the worker (T14).

``python benchmarks/attention.py``. A ViT-S/16 with random weights on real tissue; the variants are interleaved in one process
and the fastest of each is reported, in wall and in CPU time.
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

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.inference import attention_maps, encode_field
from napari_sdmae.io.checkpoints.load import load_encoder, save_model
from napari_sdmae.io.images.read import read_image
from napari_sdmae.models import SDMAE, set_attention
from napari_sdmae.worker.protocol import AttentionRequest, handle

ROUNDS = 7


def measure(variants: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    """Return the least wall and CPU milliseconds of each variant, run in turn."""
    best = {name: {"wall_ms": float("inf"), "cpu_ms": float("inf")} for name in variants}
    for _ in range(ROUNDS):
        for name, run in variants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            times = {"wall_ms": 1e3 * (time.perf_counter() - wall), "cpu_ms": 1e3 * (time.process_time() - cpu)}
            best[name] = {key: round(min(best[name][key], value), 2) for key, value in times.items()}
    return best


def maps_out(model: Path, field: np.ndarray) -> dict[str, Any]:
    """T8: a field of tissue through the encoder, bare and with the last block's map."""
    encoder = load_encoder(model)
    set_attention(encoder.vit, explicit=False)
    images = torch.from_numpy(field)[None]

    def bare() -> None:
        with torch.inference_mode():
            encoder.vit.forward_features(encoder.normalise(images))

    times = measure({"bare": bare, "with map": lambda: attention_maps(encode_field(encoder, field))})
    share = {key[:-3]: round(times["bare"][key] / times["with map"][key], 3) for key in ("wall_ms", "cpu_ms")}
    return times | {"bare / with map": share}


def clicks(model: Path, field: np.ndarray) -> dict[str, Any]:
    """T14: a new field, a moved query patch, another block or method, as the warm worker draws them."""
    place = iter(range(10_000))

    def ask(**more: Any) -> None:
        handle(AttentionRequest(str(model), field, **more))

    def new_field() -> None:
        handle(AttentionRequest(str(model), np.roll(field, next(place) + 1, 0)))

    def moved(method: str) -> Callable[[], None]:
        return lambda: ask(method=method, query=(next(place) * 37 % 512, next(place) * 91 % 512))

    variants = {
        "new field, received": new_field,
        "moved query": moved("query"),
        "moved similarity": moved("similarity"),
        "moved rollout": moved("rollout"),
        "received again": lambda: ask(method="received"),
        "grid of heads": lambda: ask(method="received", head="grid"),
        "pca": lambda: ask(method="pca"),
    }
    for run in variants.values():
        run()
    return measure(variants)


def main() -> None:
    """Measure, print a table and write benchmarks/results/attention.json."""
    regions = Path(str(resources.files("napari_sdmae.resources"))) / "tissue" / "regions"
    tissue = read_image(sorted(regions.glob("*.jpg"))[0])
    field = np.ascontiguousarray(tissue[:512, :512])
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_model(Path(folder), SDMAE(ModelConfig()))
        figures = {
            "T8, 224 px": maps_out(Path(folder), field[:224, :224]),
            "T8, 512 px": maps_out(Path(folder), field),
            "T14, in the worker, 512 px": clicks(Path(folder), field),
        }
    for title, rows in figures.items():
        print(title)
        for name, row in rows.items():
            print(f"  {name:<22}", "  ".join(f"{key} {value}" for key, value in row.items()))
    write_result("attention", figures)


if __name__ == "__main__":
    main()
