"""Export of 50,000 nuclei: seconds and memory of each format (T9).

``python benchmarks/export.py``. Each format is written in a process of its own, so that its peak of memory is its own; the
labels themselves are in it. Nuclei are blobs of many shapes, some touching, some with holes, on a map of 20,480 × 5,760 px.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_result
from numpy.typing import NDArray
from scipy import ndimage

from napari_sdmae.io.labels.registry import FORMATS, export_labels, import_labels
from napari_sdmae.labels.label_map import LabelMap, make_classes

NUCLEI = 50_000
SHAPE = (20_480, 5_760)
CELL = 48
"""One nucleus per square of so many px; its own diameter is 20 to 48."""


def nuclei(count: int = NUCLEI, shape: tuple[int, int] = SHAPE, seed: int = 0) -> NDArray[np.int32]:
    """Return labels (rows, columns) of `count` nuclei, no two alike."""
    generator = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    per_row = shape[1] // CELL
    if count > per_row * (shape[0] // CELL):
        raise ValueError(f"{count} nuclei do not fit into {shape} px")
    y, x = np.mgrid[:CELL, :CELL] - (CELL - 1) / 2
    distance, angle = np.hypot(y, x), np.arctan2(y, x)
    for number in range(count):
        waves = sum(generator.normal(0, 1.5) * np.cos(k * angle + generator.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
        mask = distance < generator.uniform(10, 24) + waves
        if number % 20 == 0:
            mask &= distance > 4
        row, column = (CELL * index for index in divmod(number, per_row))
        labels[row : row + CELL, column : column + CELL][mask] = number + 1
    return labels


def label_map(labels: NDArray[np.int32]) -> LabelMap:
    """Return the labels with three classes and four measurements."""
    count = int(labels.max())
    generator = np.random.default_rng(1)
    columns = {f"measurement {number} (µm)": generator.normal(10, 3, count) for number in range(4)}
    numbers = np.arange(1, count + 1)
    return LabelMap(
        labels=labels,
        classes=make_classes(("tumour", "stroma", "lymphocyte"), 1),
        instances=True,
        class_of=dict(zip(numbers.tolist(), (numbers % 3 + 1).tolist(), strict=True)),
        mpp=0.5,
        measurements={"label": numbers} | columns,
    )


def measure(format: str, labels_file: Path, folder: Path) -> dict[str, Any]:
    """Write one format, read it back where that can be done, and return seconds and MB; run in a process of its own."""
    labels = np.load(labels_file)
    given = label_map(labels)
    before = peak_mb()
    path = folder / f"{format}{FORMATS[format].suffixes[0]}"
    start, processor = time.perf_counter(), time.process_time()
    export_labels(given, path, format=format)
    seconds, processor, peak = time.perf_counter() - start, time.process_time() - processor, peak_mb()
    figures: dict[str, Any] = {"write, s": round(seconds, 2), "write, CPU s": round(processor, 2)}
    figures |= {"peak, MB": round(peak), "of which labels, MB": round(before)}
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    figures["file, MB"] = round(sum(one.stat().st_size for one in files) / 1e6, 1)
    if FORMATS[format].keeps:
        start = time.perf_counter()
        same = bool((import_labels(path).labels == labels).all())
        figures |= {"read, s": round(time.perf_counter() - start, 2), "pixel for pixel": same}
    return figures


def peak_mb() -> float:
    """Return the largest memory this process has held, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3) * (1 if sys.platform == "darwin" else 1.024)


def main() -> None:
    """Print a table and write it with machine and date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("FORMAT", "LABELS", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        format, labels, folder = arguments.one
        print(json.dumps(measure(format, Path(labels), Path(folder))))
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.npy"
        labels = nuclei()
        assert ndimage.find_objects(labels)[-1] is not None
        np.save(file, labels)
        for format in FORMATS:
            command = [sys.executable, __file__, "--one", format, str(file), folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[format] = json.loads(done.stdout)
            print(f"{format:14}", "  ".join(f"{name} {value}" for name, value in results[format].items()), flush=True)
    write_result("export", {"nuclei": NUCLEI, "shape": SHAPE, "results": results})


if __name__ == "__main__":
    main()
