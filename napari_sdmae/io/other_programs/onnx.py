"""A head as an ONNX file, with what it means beside it: ``model.onnx`` and ``head.json``.

Input ``tiles``: RGB in [0, 1], float32 (N, 3, S, S), S the tile size of the head at its scale. The normalisation is inside, and
so is the last softmax or sigmoid. Separating objects, windows that overlap and the scale of a picture are the caller's.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from pathlib import Path

import torch

from napari_sdmae.io.atomic import atomic_path, check_free
from napari_sdmae.io.other_programs.runnable import Answers, example, output_names
from napari_sdmae.models.heads.head_model import HeadModel

WEIGHTS, CONFIG = "model.onnx", "head.json"
NEEDED = ("onnx", "onnxscript")


def write_onnx(model: HeadModel, folder: Path) -> None:
    """Write the head into `folder`, which must not exist, or be empty.

    Raises
    ------
    ValueError
        If it is a head for boxes, or the packages for ONNX are not installed.
    FileExistsError
        If the folder is not empty.
    """
    if model.spec.task == "detection":
        raise ValueError("boxes come out of steps that ONNX does not hold; use sdmae predict, which writes COCO and GeoJSON")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ValueError(f"--to onnx needs {' and '.join(missing)}: pip install 'napari-sdmae[onnx]'")
    check_free(folder, overwrite=False, folder=True)
    names = output_names(model)
    config = {
        "input": {"name": "tiles", "range": [0, 1], "colours": "RGB", "tile_size": model.spec.tile_size, "mpp": model.spec.mpp},
        "outputs": names,
        **model.spec.model_dump(mode="json", include={"task", "classes", "thresholds", "metrics", "provenance"}),
        "separation": model.spec.head.separation if model.spec.task == "instances" else None,
    }
    with atomic_path(folder, folder=True) as aside:
        aside.mkdir(parents=True, exist_ok=True)
        _export(model, names, aside / WEIGHTS)
        (aside / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _export(model: HeadModel, names: tuple[str, ...], path: Path) -> None:
    """Write the weights, in one file."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Answers(model),
                (example(model),),
                path,
                input_names=["tiles"],
                output_names=list(names),
                dynamic_shapes={"tiles": {0: torch.export.Dim("N", min=1, max=4096)}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        log.setLevel(level)
