"""docs/reproduce.md: the program takes every command, and every preset for a data set is named."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from napari_sdmae.cli import COMMANDS, evaluate, finetune, pretrain
from napari_sdmae.cli.common.training import _base, _parser
from napari_sdmae.config.presets import BASED_ON, head_preset_names, load_head_preset, load_preset, preset_names

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
BLOCKS = [block for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.M | re.S) if not language]
LINES = [line for block in BLOCKS for line in block.splitlines() if not line.startswith("#")]
COMMAND_LINES = [shlex.split(line, comments=True) for line in LINES]


def settings_of(command: str, arguments: list[str]):
    """Return the settings that a command would train with."""
    known, flags = _parser(command).parse_known_args(arguments)
    assert known.output.startswith("runs/")
    if command == "pretrain":
        return pretrain.settings(_base(known, load_preset), flags)
    return finetune.settings(_base(known, load_head_preset), flags)


def test_there_are_commands_for_each_data_set():
    assert len(COMMAND_LINES) > 20
    assert {word for line in COMMAND_LINES for word in line} >= {"NCT", "PCAM", "MONUSEG", "GLAS"}


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_each_command_is_taken(words):
    program, command, *arguments = words
    assert program == "sdmae"
    assert command in COMMANDS
    if command in ("pretrain", "finetune"):
        config = settings_of(command, arguments)
        assert str(config.data).split("/")[0] in ("NCT", "pcam", "MONUSEG", "GLAS")
    elif command == "evaluate":
        evaluate._parser().parse_args(arguments)
    else:
        assert command == "unpack"
        assert arguments == ["PCAM", "--output", "pcam"]
        assert hasattr(import_module("napari_sdmae.cli.unpack"), "main")


def test_a_model_is_pretrained_before_it_is_used():
    made = {"scratch"}
    for _, command, *arguments in COMMAND_LINES:
        if command == "finetune":
            assert arguments[arguments.index("--model") + 1] in made
        if "--output" in arguments:
            made.add(arguments[arguments.index("--output") + 1])


def test_nine_classes_by_a_preset_for_eight():
    words = next(words for words in COMMAND_LINES if "--labels.leave-out" in words)
    assert settings_of("finetune", words[2:]).labels.leave_out == ()


def test_every_preset_for_a_data_set_is_in_the_text():
    folder = ROOT / "resources" / "presets"
    own = [path.stem for path in folder.rglob("*.yaml") if f"{BASED_ON}:" in path.read_text(encoding="utf-8")]
    assert len(own) > 10
    for name in own:
        assert f"`{name}`" in TEXT
        assert any(name in words for words in COMMAND_LINES)


def test_presets_that_are_named_exist():
    named = {words[words.index("--preset") + 1] for words in COMMAND_LINES if "--preset" in words}
    assert named <= {*preset_names(), *head_preset_names()}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target
