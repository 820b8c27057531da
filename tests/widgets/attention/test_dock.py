"""The Attention dock in a real viewer with real models in a real worker."""

import shlex
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sdmae.widgets.attention.dock import AttentionWidget
from napari_sdmae.widgets.attention.view import METHODS, View
from napari_sdmae.widgets.worker_client import query_worker

pytestmark = pytest.mark.gui
RGB = np.random.default_rng(0).integers(0, 255, (128, 192, 3), np.uint8)


@pytest.fixture
def widget(warm_worker, viewer, dock, fresh_memory, model_folder):
    viewer.add_image(RGB, name="tile", scale=(0.5, 0.5), units=("µm", "µm"))
    widget = AttentionWidget(viewer)
    dock(viewer, widget)
    widget.controls.model.choose(model_folder)
    return widget


def done(qtbot):
    qtbot.waitUntil(lambda: not query_worker().busy, timeout=90000)
    qtbot.wait(20)


def show(qtbot, widget, view=None):
    if view is not None:
        widget.controls.choose(view)
    widget.show_attention()
    done(qtbot)
    assert widget.controls.failure.failure is None, widget.controls.failure.failure.details


def layer(viewer, what):
    return next(one for one in viewer.layers if one.name.startswith(f"tile · {what}") and one.visible)


def visible(viewer):
    return [one.name for one in viewer.layers if one.visible]


def click(viewer, row, column, *, to=None):
    """Press (and drag) the left button at data coordinates of the tile, with real mouse events."""
    canvas = viewer.window._qt_viewer.canvas
    native = canvas.native

    def place(row, column):
        y, x = viewer.layers["tile"].data_to_world((row, column))
        camera, size = viewer.scene.camera, np.asarray(viewer.canvas.size)
        dy, dx = (np.array([y, x]) - camera.center[-2:]) * camera.zoom + size / 2
        return QPoint(round(dx), round(dy))

    QTest.mousePress(native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place(row, column))
    if to is not None:
        goal = QPointF(place(*to))
        buttons = (Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
        on_screen = QPointF(native.mapToGlobal(place(*to)))
        QApplication.sendEvent(native, QMouseEvent(QEvent.Type.MouseMove, goal, on_screen, *buttons))
        QTest.qWait(30)
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place(*(to or (row, column))))


def test_every_method_makes_its_map(viewer, widget, qtbot):
    show(qtbot, widget)
    for method in METHODS:
        widget.controls.choose(View(method, 2, "mean"))
        done(qtbot)
        assert widget.controls.failure.failure is None
        values = layer(viewer, View(method, 2).title).data
        assert values.shape[:2] == (8, 12)
        if method in ("received", "query", "rollout"):
            assert values.sum() == pytest.approx(1, abs=1e-3)
    assert visible(viewer) == ["tile", "tile · similarity b2", "tile · query patch"]
    assert "torch" not in sys.modules


def test_the_map_covers_the_picture_exactly(viewer, widget, qtbot):
    show(qtbot, widget)
    made, source = layer(viewer, "attention b3 mean"), viewer.layers["tile"]
    np.testing.assert_allclose(made.data_to_world((-0.5, -0.5)), source.data_to_world((-0.5, -0.5)))
    np.testing.assert_allclose(made.data_to_world((7.5, 11.5)), source.data_to_world((127.5, 191.5)))


def test_blocks_and_heads_are_those_of_the_model(widget, other_model_folder, qtbot):
    controls = widget.controls
    assert (controls.block.maximum(), controls.head.count()) == (3, 6)
    controls.model.choose(other_model_folder)
    assert (controls.block.maximum(), controls.block.value(), controls.head.count()) == (2, 2, 5)


def test_every_head_side_by_side_with_numbers(viewer, widget, qtbot):
    show(qtbot, widget, View("received", 3, "grid"))
    assert layer(viewer, "attention b3 heads").data.shape == (18, 26)
    assert layer(viewer, "heads").text.values.tolist() == ["h1", "h2", "h3", "h4"]
    text = widget.controls.numbers.text()
    assert "h4" in text
    assert "µm" in text
    widget.controls.choose(View("received", 3, 2))
    done(qtbot)
    assert visible(viewer) == ["tile", "tile · attention b3 h2"]


def test_a_click_moves_the_query_patch(viewer, widget, qtbot):
    show(qtbot, widget, View("query", 3, "mean"))
    before = layer(viewer, "attention of patch").data.copy()
    centre = tuple(viewer.scene.camera.center)
    click(viewer, 20, 40)
    done(qtbot)
    marker = layer(viewer, "query patch")
    np.testing.assert_allclose(marker.data[0], (23.5, 39.5))
    assert (layer(viewer, "attention of patch").data != before).any()
    click(viewer, 20, 40, to=(100, 170))
    done(qtbot)
    np.testing.assert_allclose(marker.data[0], (103.5, 167.5))
    assert tuple(viewer.scene.camera.center) == centre
    assert viewer.scene.camera.mouse_pan
    assert viewer.layers.selection.active is not marker


def test_a_drag_outside_of_the_field_or_with_another_method_moves_the_picture(viewer, widget, qtbot):
    show(qtbot, widget)
    centre = tuple(viewer.scene.camera.center)
    click(viewer, 20, 40, to=(60, 90))
    assert tuple(viewer.scene.camera.center) != centre


def test_other_tools_keep_the_mouse(viewer, widget, qtbot):
    show(qtbot, widget, View("query", 3, "mean"))
    query = widget._query
    shapes = viewer.add_shapes(name="roi")
    shapes.mode = "add_rectangle"
    click(viewer, 20, 40, to=(60, 90))
    assert widget._query == query


def test_asking_again_keeps_the_query_patch_and_another_field_does_not(viewer, widget, qtbot):
    show(qtbot, widget, View("query", 3, "mean"))
    widget._point_at(viewer.layers["tile"].data_to_world((20, 40)))
    done(qtbot)
    show(qtbot, widget)
    np.testing.assert_allclose(layer(viewer, "query patch").data[0], (23.5, 39.5))
    viewer.add_image(RGB, name="other", translate=(100, 0))
    widget.controls.image.choose(viewer.layers["other"])
    show(qtbot, widget)
    assert widget._query != (23.5, 39.5)


def test_a_fast_drag_ends_at_the_last_place(viewer, widget, qtbot):
    show(qtbot, widget, View("similarity", 3))
    for column in range(0, 190, 3):
        assert widget._point_at(viewer.layers["tile"].data_to_world((50, column)))
    done(qtbot)
    qtbot.wait(100)
    np.testing.assert_allclose(layer(viewer, "query patch").data[0], (55.5, 183.5))
    assert not widget._point_at((-1000, 0))


def test_two_models_on_one_colour_scale(viewer, widget, qtbot, other_model_folder):
    widget.controls.second.choose(other_model_folder)
    show(qtbot, widget, View("query", 3, "mean"))
    first, second = (layer(viewer, f"attention of patch {name}") for name in ("b3 mean · small", "b2 mean · other"))
    assert first.contrast_limits == second.contrast_limits
    assert second.extent.world[0, 1] > first.extent.world[1, 1]
    assert layer(viewer, "tissue for other").data.shape == (128, 192, 3)
    widget.controls.second.choose("")
    done(qtbot)
    assert visible(viewer) == ["tile", "tile · attention of patch b3 mean", "tile · query patch"]


def test_look_and_renames_survive_the_next_map(viewer, widget, qtbot):
    show(qtbot, widget)
    made = layer(viewer, "attention")
    made.name, made.colormap = "my map", "gray"
    widget.controls.opacity_slider.setValue(30)
    widget.controls.interpolation_box.setCurrentIndex(1)
    widget.controls.choose(View("rollout", 1))
    done(qtbot)
    assert (made.name, made.colormap.name, made.opacity, made.interpolation2d) == ("my map", "gray", 0.3, "linear")


def test_a_failure_is_shown_and_the_maps_go(viewer, widget, qtbot, model_folder, tmp_path):
    show(qtbot, widget)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    (broken / "model.safetensors").write_bytes(b"x")
    widget.controls.model.choose(broken)
    if widget.controls.model.info is not None:
        done(qtbot)
        assert widget.controls.failure.failure.line
        assert visible(viewer) == ["tile"]
    else:
        assert widget.controls.reason()
        assert not widget.controls.show_button.isEnabled()


def test_without_a_file_there_is_no_command(widget):
    assert widget.controls.command.text.toPlainText() == ""
    assert "not read from a file" in widget.controls.command.text.placeholderText()
    assert not widget.controls.command.copy.isEnabled()


@pytest.mark.parametrize("view", [View("query", 2, 3), View("similarity", 3), View("received", 3)])
def test_the_copied_command_writes_the_same_map(viewer, widget, qtbot, tmp_path, view, type_command):
    file = tmp_path / "file.png"
    Image.fromarray(RGB).save(file)
    viewer.layers["tile"].name = "other"
    opened = viewer.open(file, plugin="napari", scale=(0.5, 0.5), units=("µm", "µm"))[0]
    opened.name = "tile"
    widget.controls.image.choose(opened)
    corners = np.array([[19.5, 39.5], [19.5, 167.5], [115.5, 167.5], [115.5, 39.5]])
    viewer.add_shapes([corners], scale=(0.5, 0.5), name="roi")
    widget.controls.image.region_box.setCurrentText("roi")
    show(qtbot, widget, view)
    if view.pointed:
        assert widget._point_at(opened.data_to_world((60, 130)))
        done(qtbot)
    line = widget.controls.command.text.toPlainText()
    words = shlex.split(line)
    assert words[words.index("--region") + 1 :][:4] == ["20", "40", "96", "128"]
    if view.pointed:  # the field's pixels, not the picture's: row 40 and column 90 of the region
        assert [float(word) // 16 for word in words[words.index("--query") + 1 :][:2]] == [40 // 16, 90 // 16]
    type_command(line, tmp_path / "written")
    (written,) = (tmp_path / "written").glob("*.tif")
    seen = next(one for one in viewer.layers if one.metadata.get("sdmae", {}).get("id", "").endswith("attention/map/a"))
    np.testing.assert_allclose(tifffile.imread(written), seen.data, atol=1e-5)


def test_another_picture_or_region_does_not_inherit_the_query(viewer, widget, qtbot, tmp_path):
    files = [tmp_path / "one.png", tmp_path / "two.png"]
    for file in files:
        Image.fromarray(RGB).save(file)
    one, two = viewer.open(files, plugin="napari")
    widget.controls.image.choose(one)
    show(qtbot, widget, View("query", 2, 3))
    widget._enable()
    assert "--query" in widget.controls.command.text.toPlainText()
    widget.controls.image.choose(two)
    assert str(files[1]) in widget.controls.command.text.toPlainText()
    assert "--query" not in widget.controls.command.text.toPlainText()


def test_it_says_what_attention_is_not_and_fits_a_narrow_dock(widget, qtbot):
    assert "Attention is not explanation" in widget.controls.disclaimer.text()
    show(qtbot, widget, View("received", 3, "grid"))
    assert widget.widget().minimumSizeHint().width() <= 285
