"""A classifier for WSInfer, which classifies the tiles of whole slides on its own: TorchScript and ``config.json``.

WSInfer resizes tiles to `Resize`, normalises them and applies a softmax itself, so that the file holds logits with the
temperature folded in. Checked against wsinfer-zoo's ``ModelConfiguration`` (spec 1.0). TorchScript is deprecated: PyTorch
2.14 still writes it, Python 3.14 cannot.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch

from napari_sdmae.io.atomic import atomic_path, check_free
from napari_sdmae.io.other_programs.runnable import ClassLogits, example
from napari_sdmae.models.heads.classification import NearestNeighbours
from napari_sdmae.models.heads.head_model import HeadModel

WEIGHTS, CONFIG = "torchscript_model.pt", "config.json"
UNTRACEABLE = (3, 14)


def write_wsinfer(model: HeadModel, folder: Path) -> None:
    """Write the files of a WSInfer model into `folder`, which must not exist, or be empty.

    Raises
    ------
    ValueError
        If the head is no classifier with a scale, or this Python cannot write TorchScript.
    FileExistsError
        If the folder is not empty.
    """
    _check(model)
    check_free(folder, overwrite=False, folder=True)
    spec = model.spec
    tile, mpp = spec.tile_size, spec.mpp
    tiles = (example(model) - model.mean.cpu()) / model.std.cpu()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of its deprecation, and of sizes that are fixed here
        traced = torch.jit.trace(ClassLogits(model), tiles, check_trace=False)  # type: ignore[no-untyped-call]
    config = {
        "spec_version": "1.0",
        "architecture": spec.encoder.architecture,
        "num_classes": len(spec.classes),
        "class_names": [one.name for one in spec.classes],
        "patch_size_pixels": tile,
        "spacing_um_px": mpp,
        "transform": [
            {"name": "Resize", "arguments": {"size": tile}},
            {"name": "ToTensor"},
            {"name": "Normalize", "arguments": {"mean": list(spec.encoder.mean), "std": list(spec.encoder.std)}},
        ],
    }
    with atomic_path(folder, folder=True) as aside:
        aside.mkdir(parents=True, exist_ok=True)
        traced.save(str(aside / WEIGHTS))
        (aside / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check(model: HeadModel) -> None:
    """Raise ValueError for what WSInfer cannot use, with what to do instead."""
    spec = model.spec
    if spec.task != "classification":
        instead = "--to onnx" if spec.task != "detection" else "sdmae predict"
        raise ValueError(f"WSInfer classifies tiles and nothing else; for a {spec.task} head use {instead}")
    if isinstance(model.head, NearestNeighbours):
        raise ValueError("nearest neighbours vote without logits; train a classifier (head.classifier mean or linear_probe)")
    if spec.mpp is None:
        raise ValueError("WSInfer cuts tiles by their scale, and this head has none; train it with image_mpp")
    if sys.version_info >= UNTRACEABLE:
        raise ValueError(
            f"WSInfer loads TorchScript, which Python {'.'.join(map(str, sys.version_info[:2]))} cannot write; use Python "
            "3.13 or older, or --to onnx"
        )
