"""Every verb on a real GPU, in minutes: speed, memory against the estimate, waits per step, pause, kill and resume.

``python benchmarks/gpu.py [--device cuda] [--small] [--steps 300] [--batch 240]``, or ``make gpu``

What tests prove without a GPU is in docs/decisions/0123; this is the rest. ``--device cpu --small`` tries the script.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import safetensors.torch
import torch
from machine import write_result
from PIL import Image

from napari_sdmae.cli import main as sdmae
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.models.memory_estimate import PROGRAM, training_memory
from napari_sdmae.runs.events import CheckpointSaved, Ended, EpochFinished, Event, PreviewWritten, Started, StepLogged, Warned
from napari_sdmae.training import finetune, pretrain
from napari_sdmae.training.pretraining.engine import Engine

SHIPPED = Path(str(resources.files("napari_sdmae.resources")))
HEADS: dict[str, tuple[str, dict[str, str]]] = {
    "upernet": ("segmentation", {"decoder": "upernet"}),
    "dpt": ("segmentation", {"decoder": "dpt"}),
    "linear": ("segmentation", {"decoder": "linear"}),
    "instances": ("instances", {}),
    "mean of tokens": ("classification", {"classifier": "mean"}),
    "linear probe": ("classification", {"classifier": "linear_probe"}),
    "nearest neighbours": ("classification", {"classifier": "knn"}),
    "faster_rcnn": ("detection", {"detector": "faster_rcnn"}),
    "retinanet": ("detection", {"detector": "retinanet"}),
}
Row = dict[str, Any]


class Trial:
    """What is run where, and what came out."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.device, self.small, self.folder = asked.device, asked.small, folder
        self.precision = "fp32" if asked.device == "cpu" else "bf16"
        self.batch, per_epoch, steps = (4, 2, 8) if asked.small else (asked.batch, 10, asked.steps)
        self.epochs = max(steps // per_epoch, 2)
        self.steps = self.epochs * per_epoch
        self.data = copies_of_tissue(folder / "tiles", self.batch * per_epoch)
        self.rows: dict[str, Row] = {}

    def settings(self, **changes: Any) -> PretrainConfig:
        """Return a run on the shipped tissue that saves four times, and shows nothing but at its end."""
        tiles = {"cache": self.folder / "cache", "tissue_filter": False, "tile_px": None}
        values: dict[str, Any] = {
            "data": self.data, "device": self.device, "precision": self.precision, "batch_size": self.batch,
            "epochs": self.epochs,
            "log_every": max(self.steps // 8, 1), "checkpoint_every": max(self.epochs // 4, 1), "preview_every": 10_000,
            "loss": {"p_start_epoch": 0, "p_ramp_epochs": 1}, "tiles": tiles, "optimizer": {"warmup_epochs": 1},
        }  # fmt: skip
        return PretrainConfig.from_preset("cpu-demo" if self.small else "vit-small", **values | changes)

    @contextmanager
    def row(self, name: str) -> Iterator[Row]:
        """Time a part and print its row; a part that fails has its error there, and the others go on."""
        row = self.rows[name] = {}
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        try:
            yield row
        except Exception as error:
            row["failed"] = f"{type(error).__name__}: {error}"
        row["seconds"] = round(time.perf_counter() - start, 2)
        if self.device == "cuda":
            row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        print(f"{name:22s} " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def copies_of_tissue(folder: Path, count: int) -> Path:
    """Return a folder of `count` tiles, the shipped ones again and again."""
    folder.mkdir()
    shipped = sorted((SHIPPED / "tissue" / "tiles").rglob("*.jpg"))
    for number in range(count):
        shutil.copyfile(shipped[number % len(shipped)], folder / f"{number:05d}.jpg")
    return folder


def pretraining(trial: Trial) -> Path:
    """Train, and compare speed, memory and losses' end with what is expected."""
    run, config = trial.folder / "run", trial.settings()
    with trial.row("pretrain") as row:
        events = list(pretrain(config, run=run))
        started = next(event for event in events if isinstance(event, Started))
        logged = [event for event in events if isinstance(event, StepLogged)]
        needed = training_memory(config, explicit=trial.device == "cpu", bf16=started.precision == "bf16").total
        row |= {
            "precision": started.precision,
            "images_per_s": round(float(np.median([event.images_per_s for event in logged[1:]])), 1),
            "memory_gb": round(logged[-1].memory / 1e9, 2),  # of a GPU: its tensors; of a CPU: the whole process
            "estimate_gb": round((needed if trial.device == "cpu" else needed - PROGRAM) / 1e9, 2),
            "loss": [round(event.metrics["total"], 4) for event in (logged[0], logged[-1])],
        }
    with trial.row("waits per step") as row:
        row |= waits(trial)
    return run


def waits(trial: Trial) -> Row:
    """Count where the host waits for the GPU: logs and ends of epochs read numbers, nothing else should."""
    if trial.device != "cuda":
        return {"counted": "on a GPU only"}
    reads, found = 0, list[str]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for event in pretrain(trial.settings(checkpoint_every=10_000), run=trial.folder / "waits"):
            if isinstance(event, Started):
                torch.cuda.set_sync_debug_mode("warn")
            elif isinstance(event, StepLogged | EpochFinished):
                reads += 1
            elif isinstance(event, PreviewWritten | CheckpointSaved):
                break
            found = [str(one.message) for one in caught]
        torch.cuda.set_sync_debug_mode("default")
    return {"steps": trial.steps, "logs_and_epochs": reads, "waits": len(found)}


def resuming(trial: Trial, whole: Path) -> None:
    """Pause half-way and resume; kill and resume: the model must be that of the whole run."""
    with trial.row("pause and resume") as row:
        run, step = trial.folder / "paused", [0]
        for event in pretrain(trial.settings(), run=run, stop=lambda: "pause" if step[0] >= trial.steps // 2 else None):
            step[0] = getattr(event, "step", step[0]) or step[0]
        row["paused_at"] = step[0]
        list(pretrain(trial.settings(), run=run, resume=True))
        row["largest_difference"] = difference(run, whole)
    with trial.row("kill and resume") as row:
        run, config = trial.folder / "killed", trial.folder / "killed.yaml"
        config.write_bytes((whole / "config.yaml").read_bytes())
        job = subprocess.Popen([*COMMAND, "pretrain", "--config", str(config), "--output", str(run)], **QUIET)
        while job.poll() is None and not list((run / "checkpoints").glob("step-*")):
            time.sleep(0.02)
        if job.poll() is None:
            job.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        row["killed"] = job.wait() != 0
        row["resumed"] = subprocess.run([*COMMAND, "resume", str(run)], check=False, **QUIET).returncode == 0
        row["largest_difference"] = difference(run, whole)


ROUNDING = 1e-2
"""Largest difference of weights that rounding explains on a GPU, whose sums come in any order."""
COMMAND = [sys.executable, "-m", "napari_sdmae"]
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def difference(run: Path, whole: Path) -> float:
    """Return the largest difference between the weights of two runs; 0 on a CPU, and rounding on a GPU."""
    first, second = (safetensors.torch.load_file(path / "model" / "model.safetensors") for path in (run, whole))
    return max(float((first[name].float() - second[name].float()).abs().max()) for name in second)


def memory_ladder(trial: Trial) -> None:
    """Leave less memory than a step needs: the tiles at once are halved until it fits."""
    with trial.row("out of memory") as row, too_little(trial) as how:
        events = list(pretrain(trial.settings(epochs=2), run=trial.folder / "ladder"))
        halved = [event.message for event in events if isinstance(event, Warned) and event.code == "out_of_memory"]
        row |= {"provoked": how, "halved": len(halved), "ended": _end(events)}


@contextmanager
def too_little(trial: Trial) -> Iterator[str]:
    """Let PyTorch have a third of what a step needs; on a CPU, where it cannot be held back, raise what it would."""
    if trial.device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        needed = training_memory(trial.settings(), explicit=False, bf16=True)
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((needed.fixed + needed.tiles * needed.per_tile / 3) / total)
        try:
            yield "a limit on the GPU's memory"
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    real = Engine._losses

    def losses(self: Engine, step: int, indices: Any, *rest: Any) -> Any:
        if len(indices) > trial.batch // 3:
            raise torch.OutOfMemoryError("out of memory, as asked")
        return real(self, step, indices, *rest)

    with patch.object(Engine, "_losses", losses):
        yield "by hand"


def heads(trial: Trial, model: Path) -> dict[str, Path]:
    """Fine-tune every head briefly; return their runs."""
    data, runs = labelled_data(trial.folder / "labelled"), {}
    for name, (task, head) in HEADS.items():
        with trial.row(f"finetune {name}") as row:
            runs[name] = trial.folder / f"head-{name.replace(' ', '-')}"
            config = FinetuneConfig.model_validate(
                {
                    "task": task, "data": data[task], "model": str(model), "device": trial.device,
                    "precision": trial.precision,
                    "batch_size": 8, "epochs": 1 if trial.small else 4, "log_every": 1,
                    "head": head | {"width": 32 if trial.small else 128},
                    "optimizer": {"warmup_epochs": 0},
                }
            )  # fmt: skip
            events = list(finetune(config, run=runs[name]))
            speeds = [event.images_per_s for event in events if isinstance(event, StepLogged)]
            row |= {"ended": _end(events), "tiles_per_s": round(float(np.median(speeds)), 1)}
    return runs


def labelled_data(root: Path) -> dict[str, Path]:
    """Write the shipped nuclei and tissue in the layouts of the four tasks."""
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "nucleus"}]}
    for number, path in enumerate(sorted((SHIPPED / "nuclei" / "images").iterdir())):
        pixels, labels = Image.open(path).convert("RGB"), np.asarray(Image.open(SHIPPED / "nuclei" / "labels" / path.name))
        for task in ("segmentation", "detection"):
            (root / task / "images").mkdir(parents=True, exist_ok=True)
            pixels.save(root / task / "images" / f"{number:02d}.png")
        (root / "segmentation" / "labels").mkdir(exist_ok=True)
        Image.fromarray((labels > 0).astype(np.uint8)).save(root / "segmentation" / "labels" / f"{number:02d}.png")
        size = {"width": pixels.width, "height": pixels.height}
        coco["images"].append({"id": number, "file_name": f"images/{number:02d}.png", **size})
        for value in np.unique(labels[labels > 0]):
            rows, columns = np.nonzero(labels == value)
            box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            found = {"image_id": number, "category_id": 1, "bbox": box, "area": box[2] * box[3]}
            coco["annotations"].append({"id": len(coco["annotations"]) + 1, **found})
    (root / "detection" / "annotations.json").write_text(json.dumps(coco), encoding="utf-8")
    tissue = {"classification": SHIPPED / "tissue" / "tiles", "instances": SHIPPED / "nuclei"}
    return tissue | {task: root / task for task in ("segmentation", "detection")}


def verbs(trial: Trial, run: Path, runs: dict[str, Path]) -> None:
    """Run every other verb of the command line once."""
    image = sorted((SHIPPED / "tissue" / "regions").glob("*.*"))[0]
    region = ["--region", "0", "0", "256", "256"] if trial.small else []
    out, labelled = trial.folder / "answers", trial.folder / "labelled"
    nuclei = SHIPPED / "nuclei"
    commands = {
        "reconstruct": ["reconstruct", run, image, "--output", out / "reconstruction", *region],
        "attention": ["attention", run, image, "--output", out / "attention", *(region or ["--region", "0", "0", "512", "512"])],
        "embed": ["embed", run, image, "--output", out / "features.npz"],
        "evaluate instances": ["evaluate", runs["instances"], "--data", nuclei, "--part", "all"],
        "evaluate detection": ["evaluate", runs["faster_rcnn"], "--data", labelled / "detection", "--part", "all"],
        **{f"predict {name}": ["predict", path, image, "--output", out / path.name, *region] for name, path in runs.items()},
    }
    out.mkdir()
    for name, words in commands.items():
        with trial.row(name) as row:
            chosen = ["--precision", trial.precision] if words[0] in ("predict", "embed") else []
            row["exit"] = sdmae([*map(str, words), "--device", trial.device, *chosen])


def _end(events: list[Event]) -> str:
    return next(event.state for event in reversed(events) if isinstance(event, Ended))


def main() -> int:
    """Run everything and report; 1 if there is no GPU or a part failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu", "mps"])
    parser.add_argument("--small", action="store_true", help="small models and few steps, to try the script itself")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=240, help="tiles per step")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        print("There is no usable NVIDIA GPU here. To try the script itself: python benchmarks/gpu.py --device cpu --small")
        return 1
    os.environ["PYTHONWARNINGS"] = "ignore"
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(asked, Path(folder))
        run = pretraining(trial)
        resuming(trial, run)
        memory_ladder(trial)
        verbs(trial, run, heads(trial, run))
    name = torch.cuda.get_device_name() if asked.device == "cuda" else asked.device
    write_result(f"gpu-{asked.device}{'-small' if asked.small else ''}", {"device": name, "results": trial.rows})
    failed = [name for name, row in trial.rows.items() if has_failed(row, asked.device)]
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def has_failed(row: Row, device: str) -> bool:
    """Return whether a part ended early, or did not do what it is there to show."""
    ended = "failed" in row or bool(row.get("exit")) or row.get("ended") == "failed"
    resumed = row.get("killed", True) and row.get("resumed", True)
    return ended or not resumed or row.get("largest_difference", 0.0) > (0.0 if device == "cpu" else ROUNDING)


if __name__ == "__main__":
    sys.exit(main())
