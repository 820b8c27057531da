import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from napari_sdmae.config.base import merge
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig

TINY = {
    "encoder": "vit_tiny_patch16_224",
    "tile_size": 32,
    "patch_size": 8,
    "encoder_width": 32,
    "encoder_depth": 2,
    "encoder_heads": 2,
    "decoder_width": 24,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "head_hidden": 32,
    "head_bottleneck": 16,
    "head_outputs": 64,
}
"""A model whose step takes milliseconds; all its parts are those of the real one."""


@pytest.fixture(scope="session")
def tiles(tissue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 26 real H&E tiles of several organs."""
    folder = tmp_path_factory.mktemp("tiles")
    for path in sorted((tissue / "tiles").rglob("*.jpg"))[::6][:26]:
        shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tile caches, filled by the first run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def make_config(tiles: Path, cache: Path):
    """Return a function that makes the settings of a run of milliseconds per step: 3 steps of 8 tiles per epoch."""

    def make(**changes: Any) -> PretrainConfig:
        values = {
            "data": tiles,
            "epochs": 3,
            "batch_size": 8,
            "device": "cpu",
            "precision": "fp32",
            "threads": 1,
            "log_every": 1,
            "preview_tiles": 2,
            "model": TINY,
            "tiles": {"cache": cache, "tissue_filter": False},
            "loss": {"p_start_epoch": 0, "p_ramp_epochs": 1},
            "optimizer": {"warmup_epochs": 1},
        }
        return PretrainConfig.model_validate(merge(values, changes))

    return make


TINY_HEAD = {
    "epochs": 3,
    "batch_size": 4,
    "tile_px": 32,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "log_every": 1,
    "preview_tiles": 2,
    "encoder": {"tile_size": 32, "patch_size": 8, "width": 32, "depth": 4, "heads": 2},
    "head": {"decoder": "linear", "width": 16},
    "optimizer": {"warmup_epochs": 1, "base_lr": 0.02},
}
"""A head on a scratch encoder whose step takes milliseconds: 3 steps of 4 tiles per epoch on most of the data below."""


def cut_nuclei() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return 18 crops of 48 px of the shipped nuclei, each with at least two nuclei in it, and their object numbers."""
    folder, found = Path(str(resources.files("napari_sdmae.resources") / "nuclei")), []
    for path in sorted((folder / "images").iterdir()):
        labels = np.asarray(Image.open(folder / "labels" / path.name)).astype(np.int32)
        pixels = np.asarray(Image.open(path).convert("RGB"))
        places = [(row, column) for row in range(0, 208, 48) for column in range(0, 272, 48)]
        counts = [len(np.unique(labels[row : row + 48, column : column + 48])) for row, column in places]
        row, column = places[int(np.argmax(counts))]
        found.append((pixels[row : row + 48, column : column + 48], labels[row : row + 48, column : column + 48]))
    return found[:18]


@pytest.fixture(scope="session")
def labelled_data(tissue: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real nuclei and tissue in the layouts of the four tasks."""
    root = tmp_path_factory.mktemp("labelled")
    coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "nucleus"}]}
    for task in ("instances", "segmentation", "detection"):
        for name in ("images", "labels")[: 1 if task == "detection" else 2]:
            (root / task / name).mkdir(parents=True)
    for number, (pixels, labels) in enumerate(cut_nuclei()):
        for task in ("instances", "segmentation", "detection"):
            Image.fromarray(pixels).save(root / task / "images" / f"{number:02d}.png")
        Image.fromarray(labels.astype(np.uint16)).save(root / "instances" / "labels" / f"{number:02d}.png")
        Image.fromarray((labels > 0).astype(np.uint8)).save(root / "segmentation" / "labels" / f"{number:02d}.png")
        coco["images"].append({"id": number, "file_name": f"images/{number:02d}.png", "width": 48, "height": 48})
        for value in np.unique(labels[labels > 0]):
            rows, columns = np.nonzero(labels == value)
            box = [int(columns.min()), int(rows.min()), int(np.ptp(columns) + 1), int(np.ptp(rows) + 1)]
            coco["annotations"].append(
                {"id": len(coco["annotations"]) + 1, "image_id": number, "category_id": 1, "bbox": box, "area": box[2] * box[3]}
            )
    (root / "detection" / "annotations.json").write_text(json.dumps(coco))
    organs = [folder for folder in sorted((tissue / "tiles").iterdir()) if folder.is_dir()][:2]
    for organ in organs:
        (root / "classification" / organ.name).mkdir(parents=True)
        for path in sorted(organ.glob("*.jpg"))[::3][:10]:
            with Image.open(path) as image:
                image.resize((32, 32)).save(root / "classification" / organ.name / f"{path.stem}.png")
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="session")
def make_finetune(labelled_data: dict[str, Path]):
    """Return a function that makes the settings of a fine-tuning run of a task, of milliseconds per step."""

    def make(task: str, **changes: Any) -> FinetuneConfig:
        return FinetuneConfig.model_validate(merge({"task": task, "data": labelled_data[task], **TINY_HEAD}, changes))

    return make


SERVER = """
import json, os, resource, sys
import napari_sdmae.training.finetuning.finetune
import napari_sdmae.training.pretraining.pretrain
from napari_sdmae.cli import main
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
    elif (child := os.fork()):
        print(child, flush=True)
    else:
        os.dup2(2, 1)
        os.environ |= asked["environment"]
        if asked["largest_file"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest_file"], resource.RLIM_INFINITY))
        os._exit(main(asked["command"]))
"""


class Jobs:
    """Starts `sdmae …` as processes of their own, without importing torch anew each time: a server forks them."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def start(self, *command: object, largest_file: int = 0, environment: dict[str, str] | None = None) -> int:
        """Start a command, which can write no file larger than that many bytes (0: any); return its process id."""
        words = list(map(str, command))
        return self._ask({"command": words, "largest_file": largest_file, "environment": environment or {}})

    def wait(self, pid: int) -> int:
        """Wait for a process to end; return its exit status, negative for a signal."""
        return self._ask({"wait": pid})

    @staticmethod
    def wait_until(pid: int, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds, which must come while the process lives, however long that takes."""
        process = psutil.Process(pid)
        while True:
            lives = process.status() != psutil.STATUS_ZOMBIE
            if condition():
                return
            assert lives, "the process ended, and what was waited for had not come"
            time.sleep(0.0005)

    def kill(self, pid: int) -> None:
        """End a process as a power cut would."""
        os.kill(pid, signal.SIGKILL)
        assert self.wait(pid) == -signal.SIGKILL, "the process had ended before it was killed"

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@pytest.fixture(scope="session")
def jobs() -> Iterator[Jobs]:
    server = Jobs()
    yield server
    server.close()
