"""What self-distillation does to the encoder: equal budgets over seeds, frozen probes and short fine-tuning.

    python benchmarks/representation.py --tissue TILES --nuclei NUCLEI --lung LUNG --output runs/evidence

TILES: folder of H&E tiles to pre-train on. NUCLEI: folder with ``images/`` and ``labels/``, one image per slide.
LUNG: folder with ``train.csv`` and ``validation.csv`` (file, label, group). Every pre-training and fine-tuning is an ordinary run
folder below the output, made by the public functions; what is finished is not done again, so the script can be stopped and
started at will, and two of them with other seeds can share an output. The tables are made of all that is there.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoders import of_colour, of_general, of_model
from machine import write_result
from probes import NUCLEI_MPP, Classes, Encoder, Nuclei, effective_rank, few, probe, read_classes, read_nuclei, token_maps

from napari_sdmae.config.base import merge
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.io.checkpoints.load import save_model
from napari_sdmae.models import SDMAE
from napari_sdmae.runs.events import CheckpointSaved, Event, StepLogged
from napari_sdmae.training import RunFolder, finetune, pretrain

REFERENCE = "MAE"
PRETRAIN: dict[str, Any] = {
    "batch_size": 70,
    "device": "cpu",
    "log_every": 78,
    "preview_every": 1000,
    "checkpoint_every": 4,
    "model": {
        "encoder": "vit_tiny_patch16_224",
        "encoder_width": 128,
        "encoder_depth": 6,
        "encoder_heads": 4,
        "decoder_width": 96,
        "decoder_depth": 2,
        "decoder_heads": 3,
        "head_hidden": 512,
        "head_bottleneck": 128,
        "head_outputs": 1024,
    },
    "tiles": {"mpp": 0.5},
    "optimizer": {"base_lr": 3e-3, "clip_grad": 3.0},
}
"""What all methods share; a run is `--crops` random crops, 70 in each step."""
SIZES: dict[int, dict[str, Any]] = {
    8: {"model": {"tile_size": 64, "patch_size": 8}, "augmentation": {"crop_scale": (0.06, 0.25)}},
    16: {"model": {"tile_size": 128, "patch_size": 16}, "augmentation": {"crop_scale": (0.15, 0.5)}},
}
"""Of patches of 8 and 16 px: crops of 64 px at about 0.8 µm/px, or of 128 px at about 0.6 µm/px; 8 × 8 patches each."""
PAPER: dict[str, Any] = {
    "loss": {
        "p": 0.2,
        "distance": "cross_entropy",
        "target": "image",
        "teacher_gradient": True,
        "centring": "probability",
        "target_normalisation": "patch_channel",
    },
    "model": {"head": "projection", "position": "sincos1d"},
}
METHODS: dict[str, dict[str, Any]] = {
    "MAE": {"loss": {"p": 0.0}},
    "paper": PAPER,
    "default": {"batch_size": 35},
}
"""With two crops of each tile the default takes half as many tiles in a step, and half the epochs."""

SHORT: dict[str, Any] = {"preview_every": 1000, "checkpoint_every": 1000, "device": "cpu"}
NUCLEI: dict[str, Any] = {
    "task": "instances",
    "tile_px": 96,
    "mpp": 0.5,
    "image_mpp": NUCLEI_MPP,
    "batch_size": 16,
    "epochs": 20,
    "validate_every": 10,
    "head": {"width": 32, "smallest": 10.0},
    "optimizer": {"base_lr": 1.6e-2, "warmup_epochs": 1},
}
LUNG: dict[str, Any] = {
    "task": "classification",
    "tile_px": 128,
    "batch_size": 25,
    "epochs": 20,
    "validate_every": 5,
    "optimizer": {"base_lr": 8e-3, "warmup_epochs": 2},
}
DRAWS = 2
"""How often the few labels of the short fine-tuning are drawn."""
PARTS = (7, 2, 4)
"""Slides of the nuclei for training, validation and test."""


def main() -> None:
    """Pre-train, probe, fine-tune, print the tables and write the figures."""
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    nuclei, classes = read_nuclei(arguments.nuclei), read_classes(arguments.lung)
    if not arguments.tables:
        baselines(arguments, nuclei, classes)
        for seed in arguments.seeds:
            for method in arguments.methods:
                measure(method, seed, arguments, nuclei, classes)
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(arguments.output.glob("*.probe.json"))]
    print(as_tables(rows))
    write_result("representation", {"rows": rows, "crops": arguments.crops})


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tissue", "nuclei", "lung", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--general", type=Path, help="ONNX file of DINOv2 ViT-S/14, for comparison")
    parser.add_argument(
        "--models", type=Path, nargs="*", default=[], help="model folders to probe beside the others, as they are"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=["random", *METHODS], default=["random", *METHODS])
    parser.add_argument("--crops", type=int, default=100_000, help="crops that each pre-training sees")
    parser.add_argument("--patch", type=int, choices=SIZES, default=16, help="edge of the patches in px")
    parser.add_argument("--threads", type=int, help="CPU threads of each run (default: all)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--tables", action="store_true", help="only make the tables of what is there")
    return parser.parse_args()


def baselines(arguments: argparse.Namespace, nuclei: Nuclei, classes: Classes) -> None:
    """Probe colour alone, the general encoder where its file is given, and given models."""
    found: dict[str, Callable[[], Encoder]] = {"colour": of_colour}
    if arguments.general is not None:
        found["general"] = lambda: of_general(arguments.general)
    for folder in arguments.models:
        found[folder.name] = lambda folder=folder: of_model(folder, bf16=arguments.precision == "bf16")  # type: ignore[misc]
    for name, make in found.items():
        keep(arguments.output / f"{name}-0.probe.json", name, 0, lambda make=make: probe(make(), nuclei, classes))  # type: ignore[misc]


def measure(method: str, seed: int, arguments: argparse.Namespace, nuclei: Nuclei, classes: Classes) -> None:
    """Pre-train, probe and fine-tune one method with one seed."""
    run = arguments.output / f"{method}-{seed}"
    if method == "random":
        random_model(run, seed, arguments.patch)
    else:
        pretrained(run, method, seed, arguments, nuclei)

    def figures() -> dict[str, float]:
        found = probe(of_model(run, bf16=arguments.precision == "bf16"), nuclei, classes)
        return found | short_nuclei(run, seed, arguments) | short_classes(run, seed, arguments, classes)

    keep(run.with_suffix(".probe.json"), method, seed, figures)


def keep(path: Path, method: str, seed: int, figures: Callable[[], dict[str, float]]) -> None:
    """Write what `figures` measures, unless that was done before."""
    if path.exists():
        return
    row = {"method": method, "seed": seed, **figures()}
    path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(row), flush=True)


def random_model(folder: Path, seed: int, patch: int) -> None:
    """Save the model of the pre-training runs before its first step."""
    if not folder.exists():
        torch.manual_seed(seed)
        config = PretrainConfig.model_validate(merge(PRETRAIN, SIZES[patch]) | {"data": "."})
        save_model(folder, SDMAE(config.model), metadata={"mpp": 0.5})


def pretrained(run: Path, method: str, seed: int, arguments: argparse.Namespace, nuclei: Nuclei) -> None:
    """Pre-train to the end; write the rank of the tokens and what was logged, over crops and seconds, beside the run."""
    tiles = sum(1 for path in arguments.tissue.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif", ".tiff"))
    shared = merge(PRETRAIN, SIZES[arguments.patch])
    config = PretrainConfig.model_validate(merge(shared, METHODS[method]) | {"data": arguments.tissue, "seed": seed})
    epochs = max(1, round(arguments.crops / tiles / config.loss.views))
    schedule = {
        "loss": {"p_start_epoch": 0.05 * epochs, "p_ramp_epochs": 0.1 * epochs},
        "optimizer": {"warmup_epochs": 0.05 * epochs},
    }
    if method == "paper":
        schedule["loss"] = {"p_start_epoch": 0.0, "p_ramp_epochs": 0.0}
    changes = schedule | {"epochs": epochs, "precision": arguments.precision, "threads": arguments.threads}
    config = PretrainConfig.model_validate(merge(config.model_dump(), changes))
    history, started = [], (time.perf_counter(), time.process_time())
    for event in finish(run, config):
        if isinstance(event, StepLogged):
            spent = {"seconds": time.perf_counter() - started[0], "core seconds": time.process_time() - started[1]}
            crops = event.step * config.batch_size * config.loss.views
            history.append({"crops": crops, **spent, **event.metrics})
        if isinstance(event, CheckpointSaved):
            maps = token_maps(of_model(run, bf16=False), nuclei.images[::4])
            history.append(
                {"crops": event.step * config.batch_size * config.loss.views, "rank": effective_rank(maps.flatten(0, 2))}
            )
    if history:
        run.with_suffix(".history.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")


def finish(run: Path, config: PretrainConfig | FinetuneConfig) -> Iterator[Event]:
    """Bring a run to its end, going on with what there is, and yield what happens."""
    folder = RunFolder(run)
    status = folder.status()
    if status is None or status.state != "finished":
        job = pretrain if isinstance(config, PretrainConfig) else finetune
        yield from job(config, run=run, resume=bool(folder.checkpoints()))  # type: ignore[arg-type]


def short_nuclei(model: Path, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Fine-tune for a few epochs to find nuclei."""
    test = tuned(f"{model.name}-nuclei", NUCLEI, nuclei_table(arguments.nuclei, arguments.output), model, seed, arguments)
    return {"tuned nuclei AJI": test["AJI"], "tuned nuclei F1": test["F1"]}


def short_classes(model: Path, seed: int, arguments: argparse.Namespace, classes: Classes) -> dict[str, float]:
    """Fine-tune on 25 labelled tiles per class."""
    found = []
    for draw, chosen in enumerate(few(classes, 25, DRAWS)):
        table = lung_table(arguments.lung, arguments.output / f"lung-{draw}.csv", set(chosen.tolist()))
        found.append(tuned(f"{model.name}-lung-{draw}", LUNG, table, model, seed, arguments)["balanced_accuracy"])
    return {"tuned classes 25-shot": statistics.mean(found)}


def tuned(
    name: str, settings: dict[str, Any], table: Path, model: Path, seed: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Return the test figures of a fine-tuning."""
    where = {"data": table, "model": str(model), "seed": seed, "precision": arguments.precision, "threads": arguments.threads}
    for _ in finish(arguments.output / name, FinetuneConfig.model_validate(SHORT | settings | where)):
        pass
    report: dict[str, float] = json.loads((arguments.output / name / "report.json").read_text(encoding="utf-8"))["test"]
    return report


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


def lung_table(source: Path, table: Path, chosen: set[int]) -> Path:
    """Write the table of the lung tiles: of train.csv the rows `chosen` train, a tenth of the other ones select."""
    rows, taken = [], set()
    given = list(csv.DictReader((source / "train.csv").read_text(encoding="utf-8").splitlines()))
    taken = {given[index]["group"] for index in chosen}
    for index, row in enumerate(given):
        if index in chosen:
            rows.append(row | {"split": "train"})
        elif row["group"] not in taken and index % 10 == 0:
            rows.append(row | {"split": "validation"})
    rows += [
        row | {"split": "test"} for row in csv.DictReader((source / "validation.csv").read_text(encoding="utf-8").splitlines())
    ]
    return write_table(table, [row | {"file": (source / row["file"]).resolve()} for row in rows])


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write `rows` as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_tables(rows: list[dict[str, Any]]) -> str:
    """Return Markdown: mean ± standard error of each method, and differences to MAE paired by seed; bold beyond two errors."""
    methods = list(dict.fromkeys(row["method"] for row in sorted(rows, key=lambda row: order(row["method"]))))
    names = [name for name in max(rows, key=len) if name not in ("method", "seed")]
    found = {
        (method, name): {row["seed"]: row[name] for row in rows if row["method"] == method and name in row}
        for method in methods
        for name in names
    }
    compared = [method for method in METHODS if method != REFERENCE and method in methods]
    lines = [
        "| figure | " + " | ".join(methods + [f"{method} - {REFERENCE}" for method in compared]) + " |",
        "|---|" + "---|" * (len(methods) + len(compared)),
    ]
    for name in names:
        cells = [spread(list(found[method, name].values())) for method in methods]
        cells += [difference(found[method, name], found.get((REFERENCE, name), {})) for method in compared]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def order(method: str) -> int:
    """Return the place of a method in the tables."""
    known = ["colour", "random", *METHODS]
    return known.index(method) if method in known else len(known)


def spread(values: list[float], sign: str = "") -> str:
    """Return mean ± standard error, as far as there are values."""
    if not values:
        return "-"
    middle = f"{statistics.mean(values):{sign}.3f}"
    return middle if len(values) == 1 else f"{middle} ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}"


def difference(values: dict[int, float], reference: dict[int, float]) -> str:
    """Return the mean paired difference; bold where it is more than two standard errors from 0, over three seeds or more."""
    paired = [values[seed] - reference[seed] for seed in values if seed in reference]
    text = spread(paired, "+")
    if len(paired) < 3:
        return text
    clear = abs(statistics.mean(paired)) > 2 * statistics.stdev(paired) / len(paired) ** 0.5
    return f"**{text}**" if clear else text


if __name__ == "__main__":
    main()
