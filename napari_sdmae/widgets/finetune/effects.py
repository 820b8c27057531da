"""Which settings of fine-tuning change nothing as the others are, so that the form leaves them out.

The command line refuses the same ones (``cli/common/head_settings.py``); a test holds the two together.

Such settings are hidden, not greyed (of fifty settings a probe needs twenty); their titles are listed below the form, and they
keep the value of the preset.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig, Task

_WHOLE_TILES = {f"augmentation.{name}" for name in ("mixup", "cutmix", "label_smoothing", "rand_augment", "erase")}
_DECODER = {f"head.{name}" for name in ("decoder", "width", "blocks", "auxiliary")}
_SCRATCH = {f"encoder.{name}" for name in ("architecture", "tile_size", "patch_size", "width", "depth", "heads")}
_MOVING = {"encoder.layer_decay", "encoder.drop_path"}

NEEDED: dict[Task, set[str]] = {
    "segmentation": _DECODER | {"head.loss", "labels.ignore_value"},
    "instances": _DECODER | {"head.separation", "head.smallest"},
    "classification": _WHOLE_TILES | {"head.classifier", "head.neighbours", "labels.leave_out"},
    "detection": {"head.detector", "head.width"},
}
"""Settings that only some tasks need, and which they are for each."""


def without_effect(task: Task, model: str, values: dict[str, Any]) -> set[str]:
    """Return the dotted names of the settings that change nothing for `task` with this `model` and these `values` (nested)."""
    left_out = set().union(*NEEDED.values()) - NEEDED[task]
    left_out |= {"encoder.train"} if model == SCRATCH else _SCRATCH
    classifier = values["head"]["classifier"] if task == "classification" else "mean"
    train = "full" if model == SCRATCH else values["encoder"]["train"]
    if train != "partial":
        left_out |= {"encoder.last_blocks"}
    if train == "frozen" or classifier != "mean":
        left_out |= _MOVING
    if classifier != "mean":
        left_out |= {"encoder.train"}
    if classifier == "knn":
        left_out |= {"epochs", "validate_every", "labels.balance", *_members("augmentation"), *_members("optimizer")}
    else:
        left_out |= {"head.neighbours"}
    if task in ("segmentation", "instances") and values["head"]["decoder"] == "linear":
        left_out |= {"head.auxiliary", "head.width"}
    return left_out


def _members(group: str) -> set[str]:
    kind: Any = FinetuneConfig.model_fields[group].annotation
    assert issubclass(kind, BaseModel)
    return {f"{group}.{name}" for name in kind.model_fields}
