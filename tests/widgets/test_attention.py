"""The Attention dock in a real viewer with real models in a real worker."""

import shlex
import sys

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sdmae.widgets._attention_view import METHODS, View
from napari_sdmae.widgets._query import query_worker
from napari_sdmae.widgets.attention import AttentionWidget

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
    qtbot.waitUntil(lambda: not query_worker().busy, timeout=20000)
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


def test_the_command_repeats_it(viewer, widget, qtbot):
    show(qtbot, widget, View("query", 2, 3))
    words = shlex.split(widget.controls.command.text.toPlainText())
    assert words[:4] == ["sdmae", "attention", widget.controls.model.model, "IMAGE"]
    options = {words[index]: words[index + 1] for index in range(4, len(words)) if words[index].startswith("--")}
    assert (options["--method"], options["--block"], options["--head"]) == ("query", "1", "2")


def test_it_says_what_attention_is_not_and_fits_a_narrow_dock(widget, qtbot):
    assert "Attention is not explanation" in widget.controls.disclaimer.text()
    show(qtbot, widget, View("received", 3, "grid"))
    assert widget.widget().minimumSizeHint().width() <= 285
