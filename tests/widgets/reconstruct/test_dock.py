"""The Reconstruct dock in a real viewer with a real model in a real worker."""

import json
import shutil
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtWidgets import QApplication

from napari_sdmae.widgets.reconstruct.dock import ReconstructWidget
from napari_sdmae.widgets.worker_client import query_worker

pytestmark = pytest.mark.gui
RGB = np.random.default_rng(0).integers(0, 255, (128, 192, 3), np.uint8)


@pytest.fixture
def widget(warm_worker, viewer, dock, fresh_memory):
    widget = ReconstructWidget(viewer)
    dock(viewer, widget)
    return widget


@pytest.fixture
def ready(viewer, widget, model_folder):
    viewer.add_image(RGB, name="tile", scale=(0.5, 0.5), translate=(3, 4), units=("µm", "µm"))
    widget.model.choose(model_folder)
    return widget


def wait_done(qtbot, widget):
    qtbot.waitUntil(lambda: not query_worker().busy, timeout=90000)
    qtbot.wait(20)


def pictures(viewer):
    derived = [layer for layer in viewer.layers if " · " in layer.name and "out of date" not in layer.name]
    return {layer.name.removeprefix("tile · "): layer for layer in derived}


def test_the_reason_why_it_cannot_start_is_said(viewer, widget, model_folder):
    assert not widget.button.isEnabled()
    assert "Open a picture" in widget.reason_line.text()
    viewer.add_image(RGB)
    assert "Choose a model" in widget.reason_line.text()
    widget.model.choose("/nowhere")
    assert not widget.button.isEnabled()
    assert "/nowhere" in widget.reason_line.text()
    widget.model.choose(model_folder)
    assert widget.button.isEnabled()
    assert not widget.reason_line.isVisible()
    assert "3 blocks × 4 heads" in widget.model.about.text()


def test_three_pictures_beside_the_image(viewer, ready, qtbot):
    ready.reconstruct()
    wait_done(qtbot, ready)
    assert ready.failure.failure is None
    made = pictures(viewer)
    assert list(made) == ["masked", "reconstruction", "error"]
    masked, error = made["masked"].data, made["error"].data
    hidden = (masked != RGB).any(-1).reshape(8, 16, 12, 16).any((1, 3))
    assert hidden.sum() == 6 * int(0.6 * 16)  # six tiles of 64 px
    assert (error.reshape(8, 16, 12, 16).max((1, 3)) > 0)[hidden].all()
    assert error.reshape(8, 16, 12, 16).max((1, 3))[~hidden].max() == 0
    lefts = [layer.extent.world[0, 1] for layer in made.values()]
    assert lefts == sorted(lefts)
    assert lefts[0] > viewer.layers["tile"].extent.world[1, 1]
    assert made["error"].metadata["sdmae"]["parameters"]["seed"] == 0
    assert "torch" not in sys.modules


def test_a_new_mask_replaces_the_pictures(viewer, ready, qtbot):
    ready.reconstruct()
    wait_done(qtbot, ready)
    before = pictures(viewer)["masked"]
    first = before.data.copy()
    before.visible = False
    ready.new_mask.click()
    wait_done(qtbot, ready)
    assert ready.seed.get() == 1
    assert pictures(viewer)["masked"] is before
    assert not before.visible
    assert (before.data != first).any()
    assert len(viewer.layers) == 4


def test_on_top_of_the_picture_only_the_reconstruction_is_seen(viewer, ready, qtbot):
    ready.reconstruct()
    wait_done(qtbot, ready)
    ready.side_by_side.setChecked(False)
    made = pictures(viewer)
    assert [layer.visible for layer in made.values()] == [False, True, False]
    for layer in made.values():
        np.testing.assert_allclose(layer.extent.world, viewer.layers["tile"].extent.world)


def test_an_error_is_shown_and_the_old_pictures_go(viewer, ready, qtbot, model_folder):
    ready.reconstruct()
    wait_done(qtbot, ready)
    viewer.add_image(RGB[:8, :8], name="crumb", rgb=True)
    ready.image.choose(viewer.layers["tile"])
    taken = ready.image.take()
    ready.image.choose(viewer.layers["crumb"])
    ready.reconstruct()
    wait_done(qtbot, ready)
    failure = ready.failure.failure
    assert "8" in failure.line
    assert "Traceback" in ready.failure.details().text.toPlainText()
    assert pictures(viewer) == {}, "the other image lies under the crumb"
    ready.image.choose(viewer.layers["tile"])
    assert len(pictures(viewer)) == 3, "and they are still true"
    assert ready.failure.failure is None, "it was the crumb that failed"
    ready._fail(taken, failure)
    assert pictures(viewer) == {}


def test_a_killed_worker_is_said_and_the_next_try_works(viewer, ready, qtbot, kill_the_worker):
    ready.reconstruct()
    wait_done(qtbot, ready)
    kill_the_worker(ready.reconstruct)
    wait_done(qtbot, ready)
    assert "stopped unexpectedly" in ready.failure.failure.line
    ready.reconstruct()
    wait_done(qtbot, ready)
    assert ready.failure.failure is None
    assert len(pictures(viewer)) == 3


@pytest.fixture
def opened(viewer, ready, tmp_path):
    """The picture opened from a file, its command, and the folder it writes to."""
    file = tmp_path / "my tile.png"
    Image.fromarray(RGB).save(file)
    viewer.open(file, plugin="napari", scale=(0.5, 0.5), translate=(3, 4), units=("µm", "µm"))
    viewer.layers["tile"].name = "other"
    viewer.layers["my tile"].name = "tile"
    ready.image.choose(viewer.layers["tile"])
    return file


@pytest.mark.parametrize("region", ["Whole picture", "roi", "Current view"])
def test_the_copied_command_writes_the_same_pictures(viewer, ready, opened, tmp_path, qtbot, region, type_command):
    corners = np.array([[9.5, 19.5], [9.5, 119.5], [109.5, 119.5], [109.5, 19.5]])
    viewer.add_shapes([corners], scale=(0.5, 0.5), translate=(3, 4), name="roi")
    viewer.reset_view()
    viewer.scene.camera.zoom *= 3
    QApplication.processEvents()
    ready.image.region_box.setCurrentText(region)
    ready.seed.set(5)
    if region != "Whole picture":
        assert not ready.command_line.copy.isEnabled()
        assert "appears with the result" in ready.command_line.text.placeholderText()
    ready.reconstruct()
    wait_done(qtbot, ready)
    assert ready.failure.failure is None
    ready.command_line.copy.click()
    line = QApplication.clipboard().text()
    assert ("--region" in line) == (region != "Whole picture")
    type_command(line, tmp_path / "written")
    written, shown = {path.name.removeprefix("my tile-"): path for path in (tmp_path / "written").iterdir()}, pictures(viewer)
    for name in ("masked", "reconstruction"):
        told, seen = np.asarray(Image.open(written[f"{name}.png"])).astype(int), shown[name].data.astype(int)
        assert told.shape == seen.shape
        assert np.abs(told - seen).max() <= 1  # rounding, between processes of other numbers of threads
    np.testing.assert_allclose(tifffile.imread(written["error.tif"]), shown["error"].data, atol=1e-4)


def test_without_a_file_there_is_no_command(ready):
    assert ready.command_line.text.toPlainText() == ""
    assert "not read from a file" in ready.command_line.text.placeholderText()
    assert not ready.command_line.copy.isEnabled()


@pytest.mark.parametrize("width", [300])
def test_it_fits_a_narrow_dock(ready, width):
    assert ready.widget().minimumSizeHint().width() <= width - 15


def test_the_note_says_what_this_model_predicts(qtbot, ready, model_folder, tmp_path):
    raw = shutil.copytree(model_folder, tmp_path / "raw")
    config = json.loads((raw / "config.json").read_text())
    (raw / "config.json").write_text(json.dumps(config | {"target_normalisation": "none"}))
    assert "taken from the original" in ready.note.text()
    ready.model.choose(raw)
    qtbot.waitUntil(lambda: "raw pixels" in ready.note.text(), timeout=30000)
    assert "taken from the original" not in ready.note.text()
