"""An option of several commands is one option: same name, choices, default and words."""

import argparse
import contextlib
import io
import math
import re
from typing import Any

import pytest

from napari_sdmae.cli import main
from napari_sdmae.cli.common.options import check_scale
from napari_sdmae.cli.common.parser import UsageError
from napari_sdmae.config.pretrain import MASK_RATIO, PretrainConfig

COMMANDS = ("reconstruct", "attention", "embed", "predict", "evaluate", "export")
SHARED = {"--mpp", "--region", "--batch", "--device", "--precision", "--overwrite", "--scene", "--plane"}
OWN = {("--mpp", "help"), ("--batch", "default")}
"""What may differ: where the scale is read from otherwise, and how many tiles fit at once."""
PARTS = ("option_strings", "dest", "nargs", "const", "default", "type", "choices", "required", "help", "metavar")


class Parsed(Exception):
    """A command has made its parser."""


def options_of(command: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Return the shared options of a command, each with all that its parser knows of it."""

    def stop(parser: argparse.ArgumentParser, *_: Any) -> None:
        raise Parsed(parser)

    for name in ("parse_args", "parse_known_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, stop)
    with pytest.raises(Parsed) as caught:
        main([command, "--nothing"])
    found = {name: action for action in caught.value.args[0]._actions for name in action.option_strings if name in SHARED}
    return {name: {part: getattr(action, part) for part in PARTS} for name, action in found.items()}


def test_an_option_of_several_commands_is_one_option(monkeypatch: pytest.MonkeyPatch) -> None:
    first: dict[str, dict[str, Any]] = {}
    for command in COMMANDS:
        for name, option in options_of(command, monkeypatch).items():
            known = first.setdefault(name, option)
            differing = {part for part in PARTS if option[part] != known[part]}
            assert not {(name, part) for part in differing} - OWN, (command, name)
            assert option["help"].split("read from")[0] == known["help"].split("read from")[0]
    assert set(first) == SHARED


@pytest.mark.parametrize("mpp", [0.05, 0.25, 20, None])
def test_scales_of_microscopes_are_taken(mpp: float | None) -> None:
    check_scale(mpp)


@pytest.mark.parametrize(
    ("mpp", "reason"),
    [
        (250, "--mpp 250 µm/px is not plausible (expected 0.05 to 20); is it in nm?"),
        (0.00025, "is it in mm?"),
        (0, "--mpp 0 µm/px is not plausible"),
        (-1, "--mpp -1 µm/px is not plausible"),
        (math.nan, "--mpp nan µm/px is not plausible"),
        (math.inf, "--mpp inf µm/px is not plausible"),
    ],
)
def test_other_scales_are_refused_with_the_unit_that_may_be_meant(mpp: float, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        check_scale(mpp)


@pytest.mark.parametrize(("option", "value"), [("--mpp", "250"), ("--batch", "0")])
def test_evaluate_names_the_option_and_no_setting(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "head", "--data", "folder", option, value]) == 2
    assert capsys.readouterr().err.startswith(f"sdmae evaluate: {option} {value}")


def help_of(command: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit):
        main([command, "--help"])
    return " ".join(output.getvalue().split())


def test_the_mask_ratio_of_a_command_is_that_of_training() -> None:
    assert f"(default: {MASK_RATIO})" in help_of("reconstruct")
    assert PretrainConfig.model_fields["mask_ratio"].default == MASK_RATIO
