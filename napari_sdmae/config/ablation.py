"""Settings of an ablation: which pre-trainings are compared, by which evaluation. No torch.

data: slides/                     # images to pre-train on
pretrain: {preset: vit-small, epochs: 100}
grid:                             # all combinations; any setting of pre-training, and teacher
  mask_ratio: [0.5, 0.6, 0.75]
  loss.p: [0, 0.2]
seeds: [0, 1, 2]                  # of pre-training and evaluation
scratch: true                     # also the evaluation without pre-training
evaluate: {preset: tissue-classes, data: tiles/}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from napari_sdmae.config.base import Settings, merge, read_yaml, setting
from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig
from napari_sdmae.config.presets import DEFAULT_PRESET, load_head_preset, load_preset
from napari_sdmae.config.pretrain import PretrainConfig

TEACHER = "teacher"
_CODES: dict[str, Any] = {"distance": "cross_entropy", "target": "image"}
TEACHERS: dict[str, dict[str, Any]] = {
    "none": {"loss": {"p": 0.0}},
    "paper": {
        "loss": _CODES
        | {"p": 0.2, "teacher_gradient": True, "centring": "probability", "p_start_epoch": 0.0, "p_ramp_epochs": 0.0},
        "model": {"head": "projection"},
    },
    "detached": {"loss": _CODES | {"teacher_gradient": False, "centring": "probability"}, "model": {"head": "projection"}},
    "sinkhorn": {"loss": _CODES | {"teacher_gradient": False, "centring": "sinkhorn"}, "model": {"head": "projection"}},
    "contrast": {
        "loss": {"distance": "contrast", "target": "token", "teacher_gradient": True},
        "model": {"head": "embedding"},
    },
    "smooth_l1": {
        "loss": {"distance": "smooth_l1", "target": "token", "teacher_gradient": False},
        "model": {"head": "predictor"},
    },
    "cosine": {"loss": {"distance": "cosine", "target": "token", "teacher_gradient": False}, "model": {"head": "predictor"}},
}
"""Named variants of self-distillation, several settings at once; none is plain MAE."""

Values = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Cell:
    """One combination of the grid; `values` are its settings, empty for the evaluation from scratch."""

    values: Values
    scratch: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables."""
        if self.scratch:
            return "from scratch"
        return ", ".join(f"{key} {value}" for key, value in self.values) or "as given"

    @property
    def folder(self) -> str:
        """Name of its folder; it does not depend on the other cells, so that a grid can grow."""
        return re.sub(r"[^\w.+-]+", "_", self.name.replace(" ", "=").replace(",=", "__")).strip("_")


class AblationConfig(Settings):
    """All that repeats an ablation."""

    data: Path = setting(..., "Images", "Folder of tissue images to pre-train on.")
    pretrain: dict[str, Any] = setting({}, "Pre-training", "Settings that all cells share, laid over those of its preset.")
    grid: dict[str, tuple[Any, ...]] = setting({}, "Grid", "Settings of pre-training, dotted, or teacher; each with its values.")
    seeds: tuple[int, ...] = setting((0,), "Seeds", "Each cell is trained and evaluated with each.", min_length=1)
    scratch: bool = setting(False, "From scratch", "Also evaluate the encoder without pre-training.")
    evaluate: dict[str, Any] = setting(..., "Evaluation", "Settings of fine-tuning, laid over those of its preset.")

    @model_validator(mode="after")
    def _works(self) -> Self:
        """Make the settings of each run once, so that what cannot work is refused before hours of training."""
        if any(not values for values in self.grid.values()):
            raise ValueError("grid: each setting needs at least one value")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: expected no seed twice")
        folders = [cell.folder for cell in self.cells()]
        if len(set(folders)) < len(folders):
            raise ValueError("grid: two combinations have the same name; give each value once")
        for cell in self.cells():
            self.pretrain_config(cell, self.seeds[0])
            self.head_config(cell, self.seeds[0], Path("pretrain"))
        return self

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read settings; an unknown key is an error.

        Raises
        ------
        OSError, ValueError
            If the file cannot be read, or holds no settings.
        """
        values = read_yaml(path)
        if not isinstance(values, dict):
            raise ValueError(f"{path} holds no settings; expected data, pretrain, grid, seeds and evaluate")
        return cls.model_validate(values)

    def cells(self) -> list[Cell]:
        """Return all combinations, the first value of each setting first; the first cell is what the others are compared with."""
        names, values = list(self.grid), list(self.grid.values())
        cells = [Cell(tuple(zip(names, combination, strict=True))) for combination in product(*values)]
        return [*cells, *([Cell((), scratch=True)] if self.scratch else [])]

    def pretrain_config(self, cell: Cell, seed: int) -> PretrainConfig:
        """Return the settings of a cell's pre-training.

        Raises
        ------
        ValueError
            If there is no such preset, setting or teacher, or a value does not fit; the message names the cell.
        """
        values = {key: value for key, value in self.pretrain.items() if key != "preset"}
        changes = merge(load_preset(self.pretrain.get("preset", DEFAULT_PRESET)), values)
        for key, value in cell.values:
            changes = merge(changes, _nested(key, value))
        try:
            return PretrainConfig.model_validate(changes | {"data": self.data.expanduser().absolute(), "seed": seed})
        except ValueError as error:
            raise ValueError(f"cell {cell.name!r}: {error}") from error

    def head_config(self, cell: Cell, seed: int, run: Path) -> FinetuneConfig:
        """Return the settings of a cell's evaluation, of the encoder in the pre-training folder `run`.

        From scratch, the encoder is built as pre-training builds it.
        """
        values = {key: value for key, value in self.evaluate.items() if key != "preset"}
        preset = self.evaluate.get("preset")
        changes = merge(load_head_preset(preset) if preset else {}, values)
        if cell.scratch:
            changes = merge(changes, {"model": SCRATCH, "encoder": self._untrained()})
        else:
            changes["model"] = str(run)
        config = FinetuneConfig.model_validate(changes | {"seed": seed})
        return config.model_copy(update={"data": config.data.expanduser().absolute()})

    def _untrained(self) -> dict[str, Any]:
        model = self.pretrain_config(Cell(()), self.seeds[0]).model
        return {
            "train": "full",
            "architecture": model.encoder,
            "tile_size": model.tile_size,
            "patch_size": model.patch_size,
            "width": model.encoder_width,
            "depth": model.encoder_depth,
            "heads": model.encoder_heads,
        }


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Return the change that one entry of the grid means."""
    if key == TEACHER:
        if value not in TEACHERS:
            raise ValueError(f"grid: no teacher {value!r}; there are: {', '.join(TEACHERS)}")
        return TEACHERS[value]
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)
