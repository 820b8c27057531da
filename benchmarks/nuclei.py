"""Masks of nuclei against a plain U-Net, trained on the same crops with the same loss, in the same time and process.

``python benchmarks/nuclei.py DATA [--core-minutes M] [--seeds N] [--images K] [--models NAME …]``. DATA is MoNuSeg's folder of
images and labels at 0.25 µm/px. Its 13 images are split once, by slide: seven train, two choose epoch and thresholds, four are
the test. The U-Net (ResNet-18, random weights) is segmentation-models-pytorch's, with our watershed and thresholds chosen on
the same images; ours is ``sdmae finetune --preset nuclei`` as it comes, from each of the models named. The test images are
measured once for each head. Core-minutes are wall minutes times threads, on cores that do nothing else.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from machine import write_result
from torch import Tensor, nn

from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig, Part
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.labelled.read import LabelledSet, read_labelled
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.losses.heads import HeadLoss
from napari_sdmae.models.heads.head_model import HeadModel, InstanceOutput
from napari_sdmae.rng import permutation
from napari_sdmae.training import RunFolder, finetune
from napari_sdmae.training.finetuning.evaluate import evaluate
from napari_sdmae.training.finetuning.thresholds import choose_thresholds

MPP = 0.25
TRAIN = ("50-5931", "A7-A13E", "21-5784", "AR-A1AK", "B0-5698", "CH-5767", "G9-6362")
CHOOSE = ("B0-5711", "E2-A1B5")
TEST = ("21-5786", "AR-A1AS", "B0-5710", "NH-A8F7")
METRICS = ("AJI", "F1", "PQ", "SQ")
RATE, WEIGHT_DECAY = 1e-3, 0.01


class PlainUNet(HeadModel):
    """segmentation-models-pytorch's U-Net in the place of a head: foreground and separation of normalised images."""

    def __init__(self, spec: HeadSpec) -> None:
        nn.Module.__init__(self)
        self.spec = spec
        self.network = smp.Unet("resnet18", encoder_weights=None, classes=2)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(spec.encoder, name)).view(1, 3, 1, 1))

    def forward(self, images: Tensor, targets: Any = None) -> InstanceOutput:
        """Return logits of normalised images (B, 3, H, W)."""
        values = self.network(images)
        return InstanceOutput(values[:, :1], values[:, 1:], None, None)

    def train(self, mode: bool = True) -> PlainUNet:
        """Set training mode."""
        nn.Module.train(self, mode)
        return self


def main() -> int:
    """Train and measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="nuclei.py", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of MoNuSeg with images and labels")
    parser.add_argument("--core-minutes", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=len(TRAIN), help="how many of the seven train")
    parser.add_argument("--models", nargs="*", default=["preset"], help="preset, scratch, or models to begin with")
    parser.add_argument("--part", choices=("validation", "test"), default="test", help="what is measured")
    arguments = parser.parse_args()
    minutes = arguments.core_minutes / torch.get_num_threads()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        table = write_table(arguments.data, arguments.images, Path(folder) / "table.csv")
        for seed in range(arguments.seeds):
            for model in ("U-Net", *arguments.models):
                start = time.perf_counter()
                run = Path(folder) / f"{Path(model).name}-{seed}"
                config = settings(table, minutes, seed, model)
                found = (
                    train_unet(config, minutes, arguments.part) if model == "U-Net" else train_ours(config, run, arguments.part)
                )
                rows.append({"model": model, "seed": seed, "minutes": round((time.perf_counter() - start) / 60, 2), **found})
                print(rows[-1], flush=True)
    asked = {name: value for name, value in vars(arguments).items() if name != "data"}
    write_result("nuclei", {"asked": asked, "split": {"train": TRAIN, "choose": CHOOSE, "test": TEST}, "rows": rows})
    return 0


def write_table(data: Path, images: int, table: Path) -> Path:
    """Write which image is of which part; those that are left out of training are not mentioned."""
    parts = dict.fromkeys(TRAIN[:images], "train") | dict.fromkeys(CHOOSE, "validation") | dict.fromkeys(TEST, "test")
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "mask", "mpp", "split"])
        for name, part in parts.items():
            (image,), (labels,) = ((data / kind).glob(f"TCGA-{name}*") for kind in ("images", "labels"))
            rows.writerow([image.absolute(), labels.absolute(), MPP, part])
    return table


def settings(table: Path, minutes: float, seed: int, model: str) -> FinetuneConfig:
    """Return the preset as it comes, but for the time; a `model` other than preset and U-Net is begun with."""
    chosen = {} if model in ("preset", "U-Net") else {"model": model}
    return FinetuneConfig.from_preset("nuclei", data=str(table), minutes=minutes, epochs=10000, seed=seed, **chosen)


def train_ours(config: FinetuneConfig, run: Path, part: Part) -> dict[str, Any]:
    """Train by the function behind ``sdmae finetune``, and return what its report measured."""
    for _ in finetune(config, run=run):
        pass
    report = RunFolder(run).read_report()
    return measured(report[part]) | {"thresholds": report["thresholds"], "epochs": report["selected"]["epoch"]}


def train_unet(config: FinetuneConfig, minutes: float, part: Part) -> dict[str, Any]:
    """Train the U-Net for as long, and measure its last weights with thresholds chosen as ours."""
    labelled = read_labelled(config)
    spec = new_head(config.model_copy(update={"model": SCRATCH}), labelled.classes, MPP).spec
    spec = spec.model_copy(update={"tile_size": config.tile_px})
    torch.manual_seed(config.seed)
    model = PlainUNet(spec)
    steps = fit_unet(model, config, labelled, 60 * minutes)
    search = choose_thresholds(model.eval(), labelled.part("validation"), labelled, config)
    while True:
        try:
            next(search)
        except StopIteration as end:
            model.spec = spec.model_copy(update={"thresholds": end.value})
            break
    report = evaluate(model, labelled.part(part), labelled, config)
    return measured(report["metrics"]) | {"thresholds": model.spec.thresholds.model_dump(), "steps": steps}


def fit_unet(model: PlainUNet, config: FinetuneConfig, labelled: LabelledSet, seconds: float) -> int:
    """Train for so many seconds with a rate that falls to 0 along a cosine; return the steps."""
    tiles = LabelledTiles(labelled.part("train"), labelled, config, tile=model.spec.tile_size, mpp=MPP)
    loss, batch = HeadLoss(model.spec), config.batch_size
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=RATE, weight_decay=WEIGHT_DECAY, fused=True)
    step, start = 0, time.perf_counter()
    while (done := (time.perf_counter() - start) / seconds) < 1:
        epoch, place = divmod(step, len(tiles) // batch)
        indices = permutation(config.seed, epoch, len(tiles))[place * batch : (place + 1) * batch]
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, 20 * done) * 0.5 * (1 + np.cos(np.pi * done))
        images, targets = tiles.batch(indices, epoch)
        optimizer.zero_grad()
        loss(model(model.normalise(images)), targets).total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
        step += 1
    return step


def measured(metrics: dict[str, float]) -> dict[str, float]:
    """Return the figures of the table."""
    return {name: round(metrics[name], 4) for name in METRICS}


if __name__ == "__main__":
    sys.exit(main())
