"""Which pixels a command would read, and when there is no such command."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from PIL import Image as Picture

import napari_sdmae.widgets
from napari_sdmae.widgets.canvas.command_line import NoCommandLine, image_arguments, shell_line
from napari_sdmae.widgets.canvas.layer_region import read_region

RGB = np.random.default_rng(0).integers(0, 255, (96, 64, 3), np.uint8)
BOX = (9.5, 19.5, 41.5, 51.5)


@pytest.fixture
def file(tmp_path):
    Picture.fromarray(RGB).save(tmp_path / "a tile.png")
    return str(tmp_path / "a tile.png")


def test_the_whole_picture_and_a_region_of_it(file):
    layer = Image(RGB, rgb=True)
    assert image_arguments(read_region(layer, (0, 0), None, None), file) == [file]
    assert image_arguments(read_region(layer, (0, 0), BOX, None), file) == [file, "--region", "10", "20", "32", "32"]
    scaled = Image(RGB, rgb=True, scale=(0.25, 0.25), units=("µm", "µm"))
    assert image_arguments(read_region(scaled, (0, 0), None, None), file) == [file, "--mpp", "0.25"]


def pyramid():
    return Image([RGB, RGB[::2, ::2]], rgb=True, multiscale=True, scale=(0.25, 0.25), units=("µm", "µm"))


def test_the_full_resolution_of_a_pyramid_has_a_command(file):
    assert image_arguments(read_region(pyramid(), (0, 0), None, 0.25), file)[0] == file


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        (lambda: read_region(Image(np.stack([RGB, RGB]), rgb=True), (1, 0, 0), None, None), "one slice of a stack"),
        (lambda: read_region(pyramid(), (0, 0), None, 0.5), "a reduced level of a pyramid"),
        (lambda: read_region(Image(RGB[..., 0].astype(np.uint16)), (0, 0), None, None), "brightness range of uint16 files"),
        (lambda: read_region(Image(RGB[:50], rgb=True), (0, 0), None, None), "not the whole picture in a tile.png"),
    ],
)
def test_what_the_command_line_cannot_read_has_none(file, taken, reason):
    with pytest.raises(NoCommandLine, match=reason):
        image_arguments(taken(), file)


@pytest.mark.parametrize(("name", "reason"), [("", "not read from a file"), ("/no/such.png", "cannot read that file")])
def test_without_a_file_there_is_none(name, reason):
    with pytest.raises(NoCommandLine, match=reason):
        image_arguments(read_region(Image(RGB, rgb=True), (0, 0), None, None), name)


def test_a_shown_command_is_quoted_for_the_shell_of_the_system(monkeypatch):
    words = ["sdmae", "predict", "C:\\my head", "it's"]
    monkeypatch.setattr(sys, "platform", "linux")
    assert shlex.split(shell_line(words)) == words
    monkeypatch.setattr(sys, "platform", "win32")
    assert shell_line(words) == 'sdmae predict "C:\\my head" it\'s'


def test_no_dock_quotes_by_itself():
    for name in ("attention/dock", "reconstruct/dock", "scribbles/save", "segment/dock", "segment/export"):
        text = (Path(napari_sdmae.widgets.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
        assert "shell_line(" in text
        assert "shlex" not in text, name
