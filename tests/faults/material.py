"""What the cases work on, made once from the shipped tissue: tiles, labelled images, settings, tiny models, label files."""

from __future__ import annotations

from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from faults.oracle import Lost
from faults.server import Server

CPU = {"device": "cpu", "precision": "fp32", "threads": 1, "log_every": 1, "preview_tiles": 1}
MODEL = {
    "encoder": "vit_tiny_patch16_224",
    "tile_size": 32,
    "patch_size": 8,
    "encoder_width": 16,
    "encoder_depth": 1,
    "encoder_heads": 1,
    "decoder_width": 12,
    "decoder_depth": 1,
    "decoder_heads": 1,
    "head_hidden": 16,
    "head_bottleneck": 8,
    "head_outputs": 16,
}
PRETRAIN = CPU | {
    "epochs": 2,
    "batch_size": 4,
    "model": MODEL,
    "tiles": {"tissue_filter": False},
    "loss": {"p_start_epoch": 0, "p_ramp_epochs": 1},
    "optimizer": {"warmup_epochs": 1},
}
"""Two epochs of two steps of milliseconds; all parts are those of a real run."""
FINETUNE = CPU | {
    "epochs": 2,
    "batch_size": 4,
    "tile_px": 32,
    "encoder": {"tile_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 1},
    "head": {"decoder": "linear", "width": 8},
    "optimizer": {"warmup_epochs": 1, "base_lr": 0.02},
}


class Material:
    """The inputs of the campaign, in `folder`; what only some cases need is made when the first of them asks.

    Parameters
    ----------
    folder
        Where they are made.
    server
        Runs the commands that make them.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.tiles, self.labelled, self.nuclei = folder / "tiles", folder / "segmentation", folder / "instances"
        self.picture, self.labels = folder / "picture.png", folder / "labels.png"
        self.pretrain, self.finetune = folder / "pretrain.yaml", folder / "finetune.yaml"
        self.instances, self.boxes, self.ablation = (folder / f"{name}.yaml" for name in ("instances", "detection", "ablation"))
        self._cut_tiles()
        self._cut_nuclei()
        self._write_settings()
        self.model = self._run("model", "pretrain", "--config", self.pretrain)
        self.head = self._run("head", "finetune", "--config", self.finetune)

    @cached_property
    def nuclei_head(self) -> Path:
        """A head that finds objects."""
        return self._run("nuclei-head", "finetune", "--config", self.instances)

    def _cut_tiles(self) -> None:
        """Cut 8 tiles of 32 px, and one picture of 96 px, from the shipped tissue."""
        self.tiles.mkdir(parents=True)
        for path in sorted((_shipped("tissue") / "tiles").rglob("*.jpg"))[::20][:8]:
            with Image.open(path) as image:
                image.crop((0, 0, 32, 32)).save(self.tiles / f"{path.stem}.png")
                image.crop((0, 0, 96, 96)).save(self.picture)

    def _cut_nuclei(self) -> None:
        """Cut 10 crops of 48 px of the shipped nuclei, with objects and with classes."""
        for task in (self.labelled, self.nuclei):
            for name in ("images", "labels"):
                (task / name).mkdir(parents=True)
        for path in sorted((_shipped("nuclei") / "images").iterdir())[:10]:
            objects = np.asarray(Image.open(_shipped("nuclei") / "labels" / path.name)).astype(np.uint16)
            row, column = _busiest(objects)
            objects = objects[row : row + 48, column : column + 48]
            with Image.open(path) as image:
                for task, labels in ((self.labelled, (objects > 0).astype(np.uint8)), (self.nuclei, objects)):
                    image.convert("RGB").crop((column, row, column + 48, row + 48)).save(task / "images" / path.name)
                    Image.fromarray(labels).save(task / "labels" / path.name)
            Image.fromarray(objects).save(self.labels)

    def _write_settings(self) -> None:
        evaluate = {**FINETUNE, "task": "segmentation", "data": str(self.labelled)}
        self._save(self.pretrain, PRETRAIN | {"data": str(self.tiles)})
        self._save(self.finetune, evaluate)
        boxes = CPU | {
            "epochs": 1,
            "batch_size": 1,
            "tile_px": 32,
            "encoder": FINETUNE["encoder"],
            "optimizer": FINETUNE["optimizer"],
        }
        self._save(self.boxes, boxes | {"task": "detection", "data": "given", "head": {"detector": "retinanet", "width": 8}})
        self._save(self.instances, evaluate | {"task": "instances", "data": str(self.nuclei)})
        evaluate = {key: value for key, value in evaluate.items() if key != "encoder"}
        self._save(self.ablation, {"data": str(self.tiles), "pretrain": {"preset": "cpu-demo", **PRETRAIN}, "evaluate": evaluate})

    @staticmethod
    def _save(path: Path, values: dict[str, Any]) -> None:
        path.write_text(yaml.safe_dump(values), encoding="utf-8")

    def _run(self, name: str, *words: Any) -> Path:
        """Return the folder of a run made by `words`."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        ended = self.server.run([*words, "--output", self.folder / name], work)
        if ended.status:
            raise Lost(f"the material cannot be made: {ended.stderr}")
        return self.folder / name


def _shipped(name: str) -> Path:
    return Path(str(resources.files("napari_sdmae.resources") / name))


def _busiest(objects: np.ndarray) -> tuple[int, int]:
    """Return the corner of the crop of 48 px with the most objects."""
    corners = [(row, column) for row in range(0, 208, 48) for column in range(0, 272, 48)]
    return max(corners, key=lambda corner: len(np.unique(objects[corner[0] : corner[0] + 48, corner[1] : corner[1] + 48])))
