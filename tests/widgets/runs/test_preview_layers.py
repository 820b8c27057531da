"""Probe tiles as layers: updated in place, and never against what a person did to them."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image

from napari_sdmae.layers.previews import preview_layers
from napari_sdmae.widgets.runs.preview_layers import PreviewLayers

NAMES = ["input", "masked", "reconstruction", "error"]


@pytest.fixture
def write(tissue, tmp_path):
    """Write the preview of an epoch of the run ``run``, from real tiles."""
    files = sorted((tissue / "tiles").rglob("*.jpg"))[:3]
    tiles = np.stack([np.asarray(Image.open(file).convert("RGB").resize((32, 32))) for file in files])

    def preview(epoch: int) -> Path:
        path = tmp_path / "run" / "previews" / f"epoch-{epoch:06d}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        error = np.full(tiles.shape[:3], 1 / epoch, np.float32)
        np.savez(path, input=tiles, masked=tiles // 2, reconstruction=tiles // epoch, error=error)
        return path

    return preview


@pytest.fixture
def shown(tmp_path, write):
    viewer = ViewerModel()
    previews = PreviewLayers(viewer)
    previews.attach(tmp_path / "run")
    previews.show(write(1))
    return viewer, previews


def test_four_strips_one_below_the_other(shown):
    viewer, _ = shown
    assert [layer.name for layer in viewer.layers] == [f"run · {name}" for name in NAMES]
    tops = [layer.translate[0] for layer in viewer.layers]
    heights = [layer.data.shape[0] for layer in viewer.layers]
    assert all(lower >= upper + height for upper, lower, height in zip(tops, tops[1:], heights, strict=False))
    assert viewer.layers[0].data.shape == (32, 3 * 32 + 2 * 8, 3)


def test_an_update_replaces_the_pixels_and_nothing_else(shown, write):
    viewer, previews = shown
    inputs, masked, reconstruction, error = viewer.layers
    error.contrast_limits, error.colormap, error.name, masked.visible, inputs.opacity = (0.1, 0.2), "gray", "my error", False, 0.5
    reconstruction.translate = (500, 7)
    viewer.layers.move(3, 0)
    viewer.layers.selection = {masked}
    previews.show(write(2))
    assert list(viewer.layers) == [error, inputs, masked, reconstruction]
    assert tuple(error.contrast_limits) == (0.1, 0.2)
    assert (error.colormap.name, error.name, masked.visible, inputs.opacity) == ("gray", "my error", False, 0.5)
    assert tuple(reconstruction.translate) == (500, 7)
    assert set(viewer.layers.selection) == {masked}
    assert error.data[0, 0] == 0.5


def test_a_deleted_layer_stays_deleted_until_the_run_is_opened_again(shown, write, tmp_path):
    viewer, previews = shown
    del viewer.layers["run · masked"]
    previews.show(write(2))
    assert len(viewer.layers) == 3
    previews.attach(tmp_path / "run")
    previews.show(write(3))
    assert len(viewer.layers) == 4


def test_layers_of_the_run_already_there_are_used_again(shown, write, tmp_path):
    viewer, _ = shown
    other = PreviewLayers(viewer)
    other.attach(tmp_path / "run")
    other.show(write(4))
    assert len(viewer.layers) == 4
    assert viewer.layers[3].data[0, 0] == 0.25


def test_two_runs_and_images_already_there_do_not_cover_each_other(shown, write, tmp_path):
    viewer, previews = shown
    bottom = viewer.layers.extent.world[1][0]
    previews.attach(tmp_path / "other")
    previews.show(write(1))
    assert len(viewer.layers) == 8
    assert viewer.layers[4].translate[0] > bottom


def test_layers_that_no_longer_follow_their_run_are_hidden_until_they_do(shown, write, tmp_path):
    viewer, previews = shown
    first = list(viewer.layers)
    first[1].visible = False
    previews.attach(tmp_path / "other")
    previews.show(write(1))
    assert [layer.visible for layer in first] == [False] * 4
    assert all(layer.name.endswith("(out of date)") for layer in first)
    previews.attach(tmp_path / "run")
    previews.show(write(2))
    assert [layer.visible for layer in viewer.layers] == [True, False, True, True, False, False, False, False]
    assert first[0].name == "run · input"
    previews.follow(False)
    assert not any(layer.visible for layer in viewer.layers)
    previews.follow(True)
    previews.show(write(3))
    assert [layer.visible for layer in first] == [True, False, True, True]


def test_layers_of_a_failed_run_are_marked_and_unmarked(shown):
    viewer, previews = shown
    viewer.layers[0].name = "mine"
    previews.mark_failed(True)
    previews.mark_failed(True)
    assert [layer.name for layer in viewer.layers] == ["mine (failed)", *(f"run · {name} (failed)" for name in NAMES[1:])]
    previews.mark_failed(False)
    assert [layer.name for layer in viewer.layers] == ["mine", *(f"run · {name}" for name in NAMES[1:])]


def test_a_preview_that_is_not_whole_is_left_for_the_next(shown, write):
    viewer, previews = shown
    path = write(2)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 255
    for content in (whole[:200], b"", bytes(damaged)):
        path.write_bytes(content)
        previews.show(path)
        assert viewer.layers[3].data[0, 0] == 1
        with pytest.raises(ValueError, match=r"epoch-000002\.npz: the preview is damaged or not complete yet"):
            preview_layers(path.parents[1], path)
