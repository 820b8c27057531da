"""Nuclei and tissue classes from random initialisation, from MAE and from SD-MAE of equal budget, over seeds.

    python benchmarks/heads_on_tissue.py --tissue TILES --nuclei NUCLEI --lung LUNG --output runs/evidence

TILES: folder of H&E tiles to pre-train on. NUCLEI: folder with ``images/`` and ``labels/``, one image per slide.
LUNG: folder with ``train.csv`` and ``validation.csv`` (file, label, group). Every run is an ordinary run folder below the output,
made by the public functions; a run that is finished is not done again, so the script can be stopped and started at will.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import write_result

from napari_sdmae.config import PretrainConfig
from napari_sdmae.finetune_config import FinetuneConfig
from napari_sdmae.io.checkpoints import save_model
from napari_sdmae.models import SDMAE
from napari_sdmae.training import RunFolder, finetune, pretrain

NUCLEI_MPP = 0.25
"""µm per pixel of the nuclei images (40×)."""
PARTS = (7, 2, 4)
"""Slides of the nuclei for training, validation and test."""

PRETRAIN: dict[str, Any] = {
    "batch_size": 128,
    "device": "cpu",
    "preview_every": 1000,
    "checkpoint_every": 4,
    "model": {
        "encoder": "vit_tiny_patch16_224",
        "tile_size": 96,
        "patch_size": 8,
        "encoder_depth": 6,
        "decoder_width": 96,
        "decoder_depth": 2,
        "decoder_heads": 3,
        "head_hidden": 512,
        "head_bottleneck": 128,
        "head_outputs": 1024,
    },
    "tiles": {"mpp": 0.5},
    "augmentation": {"crop_scale": (0.08, 0.4)},
    "optimizer": {"base_lr": 1e-3, "warmup_epochs": 4},
}
METHODS = {"MAE": {"p": 0.0}, "SD-MAE": {"p": 0.2, "p_start_epoch": 4, "p_ramp_epochs": 8}}

NUCLEI: dict[str, Any] = {
    "task": "instances",
    "tile_px": 96,
    "mpp": 0.5,
    "image_mpp": NUCLEI_MPP,
    "batch_size": 16,
    "validate_every": 5,
    "preview_every": 1000,
    "checkpoint_every": 1000,
    "head": {"width": 32, "smallest": 10.0},
    "optimizer": {"base_lr": 1.6e-2, "warmup_epochs": 1},
}
LUNG: dict[str, Any] = {
    "task": "classification",
    "tile_px": 112,
    "batch_size": 32,
    "preview_every": 1000,
    "checkpoint_every": 1000,
    "optimizer": {"base_lr": 2e-3, "warmup_epochs": 1},
}
FROZEN = {"encoder": {"train": "frozen"}}


@dataclass(frozen=True)
class Task:
    """One column of the table: what is trained on which data, and which number of the test is reported."""

    name: str
    data: str
    settings: dict[str, Any]
    metric: str


def tasks(epochs: int) -> list[Task]:
    """Return the columns; `epochs` scales them all."""
    nuclei, fine, probe = {"epochs": epochs}, {"epochs": max(1, epochs * 3 // 10)}, {"epochs": max(1, epochs // 2)}
    linear = {
        "head": NUCLEI["head"] | {"decoder": "linear", "auxiliary": 0.0},
        "optimizer": {"base_lr": 0.1, "warmup_epochs": 1},
    }
    fast = {"optimizer": {"base_lr": 2e-2, "warmup_epochs": 1}, "head": {"classifier": "linear_probe"}}
    return [
        Task("nuclei, fine-tuned", "nuclei", NUCLEI | nuclei, "AJI"),
        Task("nuclei, frozen", "nuclei", NUCLEI | nuclei | FROZEN | linear, "AJI"),
        Task("lung, fine-tuned", "lung", LUNG | fine, "balanced_accuracy"),
        Task("lung, linear probe", "lung", LUNG | probe | FROZEN | fast, "balanced_accuracy"),
        Task("lung, kNN", "lung", LUNG | {"epochs": 1} | FROZEN | {"head": {"classifier": "knn"}}, "balanced_accuracy"),
    ]


def main() -> None:
    """Pre-train, fine-tune, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tissue", "nuclei", "lung", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pretrain-epochs", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, help="CPU threads of each run (default: all)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    tables = {"nuclei": nuclei_table(arguments.nuclei, arguments.output), "lung": lung_table(arguments.lung, arguments.output)}
    rows = list(measured(arguments, tables))
    print(as_markdown(rows, arguments.epochs))
    write_result("heads_on_tissue", {"rows": rows, "seeds": arguments.seeds, "pretrain_epochs": arguments.pretrain_epochs})


def measured(arguments: argparse.Namespace, tables: dict[str, Path]) -> Iterator[dict[str, Any]]:
    """Yield one row per seed, initialisation and task: all test figures."""
    for seed in arguments.seeds:
        models = {"random": random_model(seed, arguments.output)}
        for method, loss in METHODS.items():
            models[method] = pretrained(method, loss, seed, arguments)
        for task in tasks(arguments.epochs):
            for start, model in models.items():
                run = arguments.output / f"{task.name.replace(', ', '-').replace(' ', '-')}-{start}-{seed}"
                config = FinetuneConfig.model_validate(
                    task.settings
                    | {
                        "data": tables[task.data],
                        "model": str(model),
                        "seed": seed,
                        "device": "cpu",
                        "precision": arguments.precision,
                        "threads": arguments.threads,
                    }
                )
                finish(run, config)
                report = json.loads((run / "report.json").read_text(encoding="utf-8"))
                yield {"seed": seed, "start": start, "task": task.name, **report["test"]}


def random_model(seed: int, output: Path) -> Path:
    """Return the model of the pre-training runs before its first step."""
    folder = output / f"random-{seed}"
    if not folder.exists():
        config = PretrainConfig.model_validate(PRETRAIN | {"data": "."})
        torch.manual_seed(seed)
        save_model(folder, SDMAE(config.model), metadata={"mpp": 0.5})
    return folder


def pretrained(method: str, loss: dict[str, Any], seed: int, arguments: argparse.Namespace) -> Path:
    """Return the run folder of a pre-training."""
    run = arguments.output / f"{method}-{seed}"
    changes = {
        "data": arguments.tissue,
        "epochs": arguments.pretrain_epochs,
        "seed": seed,
        "loss": loss,
        "precision": arguments.precision,
        "threads": arguments.threads,
    }
    finish(run, PretrainConfig.model_validate(PRETRAIN | changes))
    return Path(run)


def finish(run: Path, config: PretrainConfig | FinetuneConfig) -> None:
    """Bring a run to its end, going on with what there is."""
    folder = RunFolder(run)
    status = folder.status()
    if status is not None and status.state == "finished":
        return
    job = pretrain if isinstance(config, PretrainConfig) else finetune
    for event in job(config, run=run, resume=bool(folder.checkpoints())):  # type: ignore[arg-type]
        last = event
    print(f"{run.name}: {last}", flush=True)


def nuclei_table(source: Path, output: Path) -> Path:
    """Write the table of the nuclei: one slide per image, the parts of fixed slides in the order of their names."""
    names = sorted(path.stem for path in (source / "labels").glob("*.png"))
    parts = [part for part, count in zip(("train", "validation", "test"), PARTS, strict=True) for _ in range(count)]
    images = {path.stem: path for path in (source / "images").iterdir()}
    rows = [
        {"file": images[name].resolve(), "labels": (source / "labels" / f"{name}.png").resolve(), "slide": name, "split": part}
        for name, part in zip(names, parts, strict=True)
    ]
    return write_table(output / "nuclei.csv", rows)


def lung_table(source: Path, output: Path) -> Path:
    """Write the table of the lung tiles: the given validation part is the test, a fifth of the training groups selects."""
    rows = []
    for name in ("train", "validation"):
        for row in csv.DictReader((source / f"{name}.csv").read_text(encoding="utf-8").splitlines()):
            chosen = "test" if name == "validation" else "validation" if int(row["group"].rsplit("_", 1)[1]) % 5 == 0 else "train"
            rows.append({"file": (source / row["file"]).resolve(), "label": row["label"], "group": row["group"], "split": chosen})
    return write_table(output / "lung.csv", rows)


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write `rows` as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_markdown(rows: list[dict[str, Any]], epochs: int) -> str:
    """Return the table: mean ± standard error over seeds, and the paired difference of SD-MAE to MAE."""
    starts = ("random", *METHODS)
    lines = ["| task (test figure) | " + " | ".join(starts) + " | SD-MAE minus MAE |", "|---|" + "---|" * (len(starts) + 1)]
    for task in tasks(epochs):
        values = {
            start: [row[task.metric] for row in rows if (row["task"], row["start"]) == (task.name, start)] for start in starts
        }
        paired = [one - other for one, other in zip(values["SD-MAE"], values["MAE"], strict=True)]
        cells = [spread(values[start]) for start in starts]
        lines.append(f"| {task.name} ({task.metric}) | " + " | ".join(cells) + f" | {spread(paired, '+')} |")
    return "\n".join(lines)


def spread(values: list[float], sign: str = "") -> str:
    """Return mean ± standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):{sign}.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
