"""Settings of fine-tuning that have no effect given the current ones: the form hides them, the command line refuses them.

One set of settings serves four tasks; a setting that is taken and does nothing misleads (docs/decisions/0096).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig, Task

OF_TRAINING = (
    *("epochs", "minutes", "validate_every", "preview_every", "checkpoint_every"),
    *("labels.balance", "augmentation", "optimizer"),
)
OF_TILES = ("mixup", "cutmix", "label_smoothing", "rand_augment", "erase")
OF_ENCODER = ("architecture", "tile_size", "patch_size", "width", "depth", "heads")


class Choices(NamedTuple):
    """What decides which settings count; `classifier` and `decoder` are empty where the task has none."""

    task: Task
    scratch: bool
    train: str
    classifier: str
    decoder: str

    @classmethod
    def of(cls, task: Task, model: str, values: Mapping[str, Any]) -> Choices:
        """Return the choices of settings, given as nested dictionaries that may be invalid elsewhere (a form being filled in)."""
        scratch = model == SCRATCH
        train = "full" if scratch else values["encoder"]["train"]
        classifier = values["head"]["classifier"] if task == "classification" else ""
        decoder = values["head"]["decoder"] if task in ("segmentation", "instances") else ""
        return cls(task, scratch, train, classifier, decoder)

    @property
    def probe(self) -> bool:
        """Whether a classifier reads features of an encoder that stays as it is."""
        return self.classifier in ("linear_probe", "knn")


@dataclass(frozen=True)
class Rule:
    """Settings, or whole groups of them, that count only where `holds`.

    Attributes
    ----------
    where
        That in words.
    unless
        Values that the command line may name elsewhere too, as there is no other there.
    """

    names: tuple[str, ...]
    where: str
    holds: Callable[[Choices], bool]
    unless: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        """Return whether the setting of this dotted name is meant."""
        return any(name == one or name.startswith(f"{one}.") for one in self.names)


def _is(*tasks: str) -> Callable[[Choices], bool]:
    return lambda choices: choices.task in tasks


RULES = (
    Rule(("head.decoder", "head.blocks", "head.auxiliary"), "segmentation and instances", _is("segmentation", "instances")),
    Rule(("head.width",), "segmentation, instances and detection", _is("segmentation", "instances", "detection")),
    Rule(("head.width",), "the decoders unet, upernet and dpt", lambda choices: choices.decoder != "linear"),
    Rule(("head.auxiliary",), "the decoders upernet and dpt", lambda choices: choices.decoder in ("upernet", "dpt")),
    Rule(("head.loss", "labels.ignore_value"), "segmentation", _is("segmentation")),
    Rule(("head.separation", "head.smallest"), "instances", _is("instances")),
    Rule(("head.classifier", "labels.leave_out"), "classification", _is("classification")),
    Rule(tuple(f"augmentation.{name}" for name in OF_TILES), "classification", _is("classification")),
    Rule(("head.detector",), "detection", _is("detection")),
    Rule(("head.neighbours",), "classification with head.classifier knn", lambda choices: choices.classifier == "knn"),
    Rule(
        OF_TRAINING,
        "a head that is trained, not with head.classifier knn",
        lambda choices: choices.classifier != "knn",
    ),
    Rule(
        ("encoder.layer_decay", "encoder.drop_path"),
        "an encoder that is trained, not with a frozen one",
        lambda choices: choices.train != "frozen" and not choices.probe,
    ),
    Rule(("encoder.train",), "an encoder that was trained before", lambda choices: not choices.scratch, unless=("full",)),
    Rule(
        ("encoder.train",),
        "head.classifier mean: probes keep the encoder as it is",
        lambda choices: not choices.probe,
        unless=("frozen",),
    ),
    Rule(("encoder.last_blocks",), "encoder.train partial", lambda choices: choices.train == "partial" and not choices.probe),
    Rule(tuple(f"encoder.{name}" for name in OF_ENCODER), "model scratch", lambda choices: choices.scratch),
)


def without_effect(task: Task, model: str, values: Mapping[str, Any]) -> set[str]:
    """Return the dotted names of the settings that change nothing for `task` with this `model` and these `values` (nested)."""
    choices = Choices.of(task, model, values)
    unmet = [rule for rule in RULES if not rule.holds(choices)]
    return {name for name in _names(FinetuneConfig) if any(rule.covers(name) for rule in unmet)}


def refusals(config: FinetuneConfig, flags: Sequence[str]) -> list[str]:
    """Return a sentence for each word of the command line that sets what changes nothing for `config`."""
    values = config.model_dump()
    choices = Choices.of(config.task, config.model, values)
    unmet = [rule for rule in RULES if not rule.holds(choices)]
    complaints = []
    for name in filter(None, map(setting_of, flags)):
        rule = next((one for one in unmet if one.covers(name) and _value(values, name) not in one.unless), None)
        if rule is not None:
            flag = f"--{name.replace('_', '-')}"
            complaints.append(f"{flag} has an effect only with {rule.where} (task {config.task}): leave it out")
    return complaints


def setting_of(flag: str) -> str:
    """Return the dotted name of the setting that a word of the command line sets, empty if it is a value."""
    if not flag.startswith("--"):
        return ""
    *groups, last = flag[2:].split("=")[0].replace("-", "_").split(".")
    return ".".join([*groups, last.removeprefix("no_")])


def _names(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all settings."""
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _names(info.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _value(values: Mapping[str, Any], name: str) -> Any:
    """Return a setting by its dotted name; "" where there is none, as for a group."""
    found: Any = values
    for part in name.split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return found
