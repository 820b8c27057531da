"""An option of several commands is one option: same name, choices, default and words."""

import contextlib
import io

import pytest

from napari_sdmae.cli import main
from napari_sdmae.config.pretrain import MASK_RATIO, PretrainConfig

COMMANDS = {
    "reconstruct": ("--mpp", "--device", "--overwrite"),
    "attention": ("--mpp", "--device", "--overwrite"),
    "embed": ("--mpp", "--device", "--precision", "--overwrite"),
    "predict": ("--mpp", "--device", "--precision", "--overwrite"),
    "evaluate": ("--mpp", "--device", "--precision", "--overwrite"),
    "export": ("--overwrite",),
}
WORDS = {
    "--mpp": "scale of the images in µm/px (default: read from the",
    "--device": "auto: the GPU when there is one",
    "--precision": "auto: bf16 where a probe shows that it pays",
    "--overwrite": "replace files of earlier calls",
}


def help_of(command: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit):
        main([command, "--help"])
    return " ".join(output.getvalue().split())


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_is_told_alike_everywhere(command: str) -> None:
    told = help_of(command)
    for option in COMMANDS[command]:
        assert option in told
        assert WORDS[option] in told


def test_the_mask_ratio_of_a_command_is_that_of_training() -> None:
    assert f"(default: {MASK_RATIO})" in help_of("reconstruct")
    assert PretrainConfig.model_fields["mask_ratio"].default == MASK_RATIO
