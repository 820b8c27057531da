"""Settings without effect: what the form leaves out is what the command line refuses, by one set of rules."""

import itertools
from typing import get_args

import pytest

from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig, Task
from napari_sdmae.config.relevance import RULES, refusals, without_effect

TRAINS, CLASSIFIERS, DECODERS = ("full", "frozen", "partial"), ("mean", "linear_probe", "knn"), ("linear", "unet", "upernet")


def settings(task: str, model: str, train: str, classifier: str = "mean", decoder: str = "linear") -> FinetuneConfig:
    groups = {"encoder": {"train": train}, "head": {"classifier": classifier, "decoder": decoder}}
    return FinetuneConfig.model_validate({"task": task, "data": "x", "model": model} | groups)


def test_the_form_leaves_out_what_the_command_line_refuses() -> None:
    """But for encoder.train where it has one value only: that value may be named, though there is nothing to choose."""
    for task, model, *rest in itertools.product(get_args(Task), (SCRATCH, "model"), TRAINS, CLASSIFIERS, DECODERS):
        if model == SCRATCH and rest[0] != "full":
            continue
        config = settings(task, model, *rest)
        left_out = without_effect(task, model, config.model_dump())
        flags = [f"--{name.replace('_', '-')}" for name in left_out]
        told = {line.split()[0][2:].replace("-", "_") for line in refusals(config, flags)}
        assert left_out - told <= {"encoder.train"}, (task, model, rest)
        kept = {name for rule in RULES for name in rule.names} - left_out
        assert not refusals(config, [f"--{name}" for name in kept if "." in name])


def test_groups_are_left_out_setting_by_setting() -> None:
    hidden = without_effect("classification", "model", settings("classification", "model", "frozen", "knn").model_dump())
    assert {"optimizer.base_lr", "augmentation.flip", "epochs", "encoder.train"} <= hidden
    assert not {"head.neighbours", "head.classifier", "optimizer", "data"} & hidden


@pytest.mark.parametrize(
    ("config", "flags", "refused"),
    [
        (settings("segmentation", SCRATCH, "full"), ["--encoder.train", "full"], False),
        (settings("classification", "model", "frozen", "linear_probe"), ["--encoder.train=frozen"], False),
        (settings("classification", "model", "full", "linear_probe"), ["--encoder.train", "full"], True),
        (settings("classification", SCRATCH, "full", "linear_probe"), ["--encoder.train", "full"], True),
        (settings("segmentation", SCRATCH, "full"), ["--encoder.depth", "3"], False),
        (settings("segmentation", "model", "full"), ["--encoder.depth", "3"], True),
        (settings("detection", "model", "full"), ["--augmentation.no-flip", "--epochs", "3"], False),
    ],
)
def test_only_what_was_typed_and_changes_nothing_is_refused(config: FinetuneConfig, flags: list[str], refused: bool) -> None:
    assert bool(refusals(config, flags)) == refused


@pytest.mark.parametrize(
    ("config", "flag", "sentence"),
    [
        (
            settings("classification", "model", "frozen", "knn"),
            "--epochs",
            "--epochs has an effect only with a head that is trained, not with head.classifier knn (task classification): "
            "leave it out",
        ),
        (
            settings("segmentation", "model", "frozen"),
            "--encoder.layer-decay",
            "--encoder.layer-decay has an effect only with an encoder that is trained, not with a frozen one "
            "(task segmentation): leave it out",
        ),
        (
            settings("classification", "model", "partial", "linear_probe"),
            "--encoder.last-blocks",
            "--encoder.last-blocks has an effect only with encoder.train partial (task classification): leave it out",
        ),
    ],
)
def test_a_refusal_reads_as_a_sentence(config: FinetuneConfig, flag: str, sentence: str) -> None:
    assert refusals(config, [flag]) == [sentence]


@pytest.mark.parametrize("name", ["preview_every", "checkpoint_every", "validate_every"])
def test_one_pass_has_nothing_to_repeat(name: str) -> None:
    """Nearest neighbours look at each tile once: the only epoch is always previewed and saved."""
    assert name in without_effect("classification", "model", settings("classification", "model", "frozen", "knn").model_dump())


def test_a_form_being_filled_in_need_not_be_valid() -> None:
    values = settings("segmentation", "model", "frozen").model_dump()
    values["optimizer"]["base_lr"] = None
    assert "encoder.train" in without_effect("segmentation", SCRATCH, values)
