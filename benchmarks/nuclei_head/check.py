"""How good a head is on tissue that it never saw: the images of MoNuSeg, as they are and at half their scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_sdmae.inference.prediction.predict import predict
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.io.model_info.info import find_model, fingerprint
from napari_sdmae.metrics.objects import InstanceMetrics

MPP = 0.25
METRICS = ("AJI", "F1", "PQ", "SQ")


def check(head: Path, monuseg: Path, table: Path) -> dict[str, Any]:
    """Measure `head` on each image at 0.25 and at 0.5 µm/px, and write `table`; a table of the same head is kept.

    Labels are compared pixel by pixel at 0.25 µm/px in both cases.
    """
    stamp = fingerprint(find_model(head))
    if table.exists() and (kept := json.loads(table.read_text()))["head"] == stamp:
        return dict(kept)
    model, images = load_head(head), {}
    for path in sorted((monuseg / "images").iterdir()):
        truth = np.asarray(Image.open(next((monuseg / "labels").glob(f"{path.stem}.*")))).astype(np.int32)
        image = Image.open(path).convert("RGB")
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        fine = predict(model, np.asarray(image), mpp=MPP).label_map.labels
        coarse = predict(model, np.asarray(half), mpp=2 * MPP).label_map.labels
        images[path.stem] = {"0.25 µm/px": _measured(fine, truth), "0.5 µm/px": _measured(_enlarged(coarse, truth.shape), truth)}
    mean = {
        scale: {name: round(float(np.mean([one[scale][name] for one in images.values()])), 4) for name in METRICS}
        for scale in ("0.25 µm/px", "0.5 µm/px")
    }
    found = {"head": stamp, "mean": mean, "images": images, "thresholds": model.spec.thresholds.model_dump()}
    table.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def _measured(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    metrics = InstanceMetrics(["nucleus"])
    metrics.update(found, truth)
    return {name: round(value, 4) for name, value in metrics.compute().items() if name in METRICS}


def _enlarged(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, labels.shape, strict=True))
    return labels[rows[:, None], columns]
