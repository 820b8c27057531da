"""Segmenting a region of 2048 × 2048 px with a head, and what memory a large file takes (T15).

``python benchmarks/segment.py [--edge PX] [--rounds N] [--large PX]``. Heads with random weights on real tissue: how long it
takes hardly depends on what they learned. The worker answers as the Segment widget asks, warm, measurements included; the
fastest is reported, in wall and in CPU time. For the large file, tissue is repeated to a TIFF, predicted and measured in a
process of its own, and the peak of the memory that only this process has (mapped files included) is told, above what it had
with the model loaded and used.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from machine import write_result

from napari_sdmae.config.base import Precision
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.devices.precision import answering_gain
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.io.images.read import read_image
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.worker.protocol import SegmentRequest, handle

SMALL = {"width": 192, "depth": 6, "heads": 3, "tile_size": 224}
HEADS = {
    "small ViT (192 × 6), linear, 4 classes": ("segmentation", SMALL, "linear"),
    "small ViT (192 × 6), UPerNet, nuclei": ("instances", SMALL, "upernet"),
    "ViT-S/16, linear, 4 classes": ("segmentation", {}, "linear"),
    "ViT-S/16, UPerNet, 4 classes": ("segmentation", {}, "upernet"),
}


def make_head(folder: Path, task: str, encoder: dict[str, Any], decoder: str) -> Path:
    """Save a head with random weights for tiles at 0.5 µm/px."""
    classes = (
        make_classes(["background", "tumour", "stroma", "necrosis"]) if task == "segmentation" else make_classes(["nucleus"], 1)
    )
    config = FinetuneConfig(task=task, data="x", encoder=encoder, mpp=0.5, head={"decoder": decoder})
    save_head(folder, new_head(config, classes))
    return folder


def region(head: Path, field: np.ndarray, precision: Precision, rounds: int) -> dict[str, float]:
    """Return seconds for the field in the warm worker: wall and CPU, of the fastest of some `rounds` after a small one."""
    request = SegmentRequest(str(head), field, mpp=0.5, device="cpu", precision=precision)
    handle(replace(request, image=field[:224, :224]))
    best = {"wall_s": float("inf"), "cpu_s": float("inf")}
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        handle(request)
        times = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        best = {name: round(min(best[name], value), 2) for name, value in times.items()}
    return best


LARGE = """
import json, sys, threading, time, psutil
import torch
from napari_sdmae.inference.prediction.predict import predict_file
from napari_sdmae.inference.measuring import measure
from napari_sdmae.io.images.pictures import FilePicture
from napari_sdmae.io.checkpoints.head_folder import load_head
head, path = sys.argv[1:]
model = load_head(head)
with torch.inference_mode():
    model(model.normalise(torch.zeros(8, 224, 224, 3, dtype=torch.uint8)))  # the memory of a batch is the model's
process, peak, over = psutil.Process(), [0], threading.Event()
def watch():
    while not over.wait(0.02):
        peak[0] = max(peak[0], process.memory_full_info().uss)
before = process.memory_full_info().uss
threading.Thread(target=watch, daemon=True).start()
start = time.perf_counter()
found = predict_file(model, path, mpp=0.5)
predicted = time.perf_counter()
measure(found.label_map, FilePicture(path, 0.5))
over.set()
figures = {"predict_s": predicted - start, "measure_s": time.perf_counter() - predicted}
figures |= {"peak_above_model_gb": (peak[0] - before) / 1e9, "labels_gb": found.label_map.labels.nbytes / 1e9}
figures["objects"] = len(found.label_map.class_of)
print(json.dumps(figures | {"labels_in_file": type(found.label_map.labels).__name__ == "memmap"}))
"""


def large(head: Path, tissue: np.ndarray, edge: int, folder: Path) -> dict[str, Any]:
    """Predict a file of `edge` × `edge` px in a process of its own; memory that only this process has, mapped files included."""
    path = folder / "large.tif"
    times = -(-edge // tissue.shape[0])
    rows = (np.tile(tissue, (1, times, 1))[:, :edge] for _ in range(times))
    data = tifffile.memmap(path, shape=(edge, edge, 3), dtype=np.uint8, photometric="rgb", bigtiff=True)
    for number, row in enumerate(rows):
        part = data[number * tissue.shape[0] : (number + 1) * tissue.shape[0]]
        part[...] = row[: len(part)]
    data.flush()
    del data
    run = subprocess.run([sys.executable, "-c", LARGE, str(head), str(path)], capture_output=True, text=True, check=True)
    figures = json.loads(run.stdout)
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()} | {"edge_px": edge}


def main() -> None:
    """Measure, print a table and write benchmarks/results/segment.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", type=int, default=12288, help="edge of the large file in px; 0: none")
    parser.add_argument("--edge", type=int, default=2048, help="edge of the region in px")
    parser.add_argument("--rounds", type=int, default=2, help="of each region the fastest is told")
    arguments = parser.parse_args()
    regions = Path(str(resources.files("napari_sdmae.resources"))) / "tissue" / "regions"
    tissue = read_image(sorted(regions.glob("*.jpg"))[0])
    field = np.ascontiguousarray(tissue[: arguments.edge, : arguments.edge])
    figures: dict[str, Any] = {"bf16 over fp32 (probe)": round(answering_gain("cpu"), 2), "region_px": field.shape[0]}
    with tempfile.TemporaryDirectory() as place:
        for number, (name, how) in enumerate(HEADS.items()):
            head = make_head(Path(place) / str(number), *how)
            for precision in ("fp32", "bf16"):
                figures[f"{name}, {precision}"] = region(head, field, precision, arguments.rounds)
                print(f"{name}, {precision:<6}", figures[f"{name}, {precision}"], flush=True)
        if arguments.large:
            figures["large file, small ViT, nuclei"] = large(Path(place) / "1", tissue, arguments.large, Path(place))
            print("large file", figures["large file, small ViT, nuclei"], flush=True)
    write_result("segment", figures)


if __name__ == "__main__":
    main()
