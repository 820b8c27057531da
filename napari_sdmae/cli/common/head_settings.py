"""Settings of fine-tuning that do nothing for the task at hand: refused by name when they were given, never ignored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig

OF_TILES = ("mixup", "cutmix", "label_smoothing", "rand_augment", "erase")


@dataclass(frozen=True)
class Rule:
    """Settings, or whole groups of them, that have an effect only where `holds`; `where`: that in words."""

    names: tuple[str, ...]
    where: str
    holds: Callable[[FinetuneConfig], bool]


def _is(*tasks: str) -> Callable[[FinetuneConfig], bool]:
    return lambda config: config.task in tasks


def _learns(config: FinetuneConfig) -> bool:
    return config.task != "classification" or config.head.classifier != "knn"


def _moves(config: FinetuneConfig) -> bool:
    """Return whether anything of the encoder is trained."""
    return config.encoder.train != "frozen" and (config.task != "classification" or config.head.classifier == "mean")


RULES = (
    Rule(("head.decoder", "head.blocks", "head.auxiliary"), "segmentation and instances", _is("segmentation", "instances")),
    Rule(("head.width",), "segmentation, instances and detection", _is("segmentation", "instances", "detection")),
    Rule(
        ("head.width", "head.auxiliary"),
        "the decoders upernet and dpt",
        lambda config: config.head.decoder != "linear" or config.task not in ("segmentation", "instances"),
    ),
    Rule(("head.loss", "labels.ignore_value"), "segmentation", _is("segmentation")),
    Rule(("head.separation", "head.smallest"), "instances", _is("instances")),
    Rule(("head.classifier", "labels.leave_out"), "classification", _is("classification")),
    Rule(tuple(f"augmentation.{name}" for name in OF_TILES), "classification", _is("classification")),
    Rule(("head.detector",), "detection", _is("detection")),
    Rule(("head.neighbours",), "classification with head.classifier knn", lambda config: not _learns(config)),
    Rule(
        ("epochs", "validate_every", "labels.balance", "augmentation", "optimizer", "encoder.layer_decay", "encoder.drop_path"),
        "a head that is trained, and head.classifier is knn",
        _learns,
    ),
    Rule(
        ("encoder.layer_decay", "encoder.drop_path"),
        "an encoder that is trained, and it is frozen",
        _moves,
    ),
    Rule(
        ("encoder.train",),
        "head.classifier mean: probes keep the encoder as it is",
        lambda config: _moves(config) or config.encoder.train == "frozen",
    ),
    Rule(("encoder.last_blocks",), "encoder.train partial", lambda config: config.encoder.train == "partial"),
    Rule(
        tuple(f"encoder.{name}" for name in ("architecture", "tile_size", "patch_size", "width", "depth", "heads")),
        "model scratch",
        lambda config: config.model == SCRATCH,
    ),
)


def without_effect(config: FinetuneConfig, flags: Sequence[str]) -> list[str]:
    """Return a sentence for each flag among `flags` that changes nothing for `config`."""
    complaints = []
    for flag in flags:
        name = setting_of(flag)
        rule = next((rule for rule in RULES if name and _covers(rule, name) and not rule.holds(config)), None)
        if rule is not None:
            complaints.append(
                f"--{name.replace('_', '-')} has an effect only with {rule.where} (task {config.task}): leave it out"
            )
    return complaints


def setting_of(flag: str) -> str:
    """Return the dotted name of the setting that a word of the command line sets, empty if it is a value."""
    if not flag.startswith("--"):
        return ""
    *groups, last = flag[2:].split("=")[0].replace("-", "_").split(".")
    return ".".join([*groups, last.removeprefix("no_")])


def _covers(rule: Rule, name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in rule.names)
