"""The Scribbles dock in a real viewer with a real model in a real worker."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sdmae.config.head import HeadSpec
from napari_sdmae.layers.base import Field, Source
from napari_sdmae.widgets.finetune.dock import FinetuneWidget
from napari_sdmae.widgets.scribbles import save as keeping
from napari_sdmae.widgets.scribbles import strokes
from napari_sdmae.widgets.scribbles.dock import ScribblesWidget
from napari_sdmae.widgets.worker_client import query_worker
from napari_sdmae.worker.protocol import SegmentRequest

pytestmark = pytest.mark.gui


@pytest.fixture(scope="session")
def skin(tissue):
    """Dermis with a strand of muscle: 256 × 320 px."""
    with Image.open(tissue / "regions" / "skin_morphea.jpg") as picture:
        return np.asarray(picture.convert("RGB").crop((1400, 600, 1720, 856)))


@pytest.fixture
def widget(warm_worker, viewer, fresh_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "output_folder", lambda: tmp_path / "output")
    _, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Scribbles")
    QApplication.processEvents()
    return widget


@pytest.fixture
def ready(viewer, widget, model_folder, skin):
    viewer.add_image(skin, name="skin", scale=(0.5, 0.5), translate=(3, 4), units=("µm", "µm"))
    widget.controls.model.choose(model_folder)
    return widget


def done(qtbot, widget):
    qtbot.waitUntil(
        lambda: not widget._timer.isActive() and not query_worker().busy, timeout=600_000
    )  # which only a hang reaches
    qtbot.wait(20)


def stroke(widget, value, row, column, length=30):
    """Paint as the brush does."""
    widget.controls.classes.choose(value)
    widget.brush("paint")
    layer = widget.strokes_layer
    layer.brush_size = 5
    leading = (0,) * (layer.ndim - 2)
    with layer.block_history():
        for along in range(0, length, 2):
            layer.paint((*leading, row, column + along), value)


def paint_all(qtbot, widget):
    """Two strokes of both classes, and the answer to them."""
    for value, row, column in ((1, 30, 40), (1, 60, 200), (2, 180, 60), (2, 220, 220)):
        stroke(widget, value, row, column)
    done(qtbot, widget)


def named(viewer, what):
    return next((layer for layer in viewer.layers if layer.name.endswith(what)), None)


def test_what_is_missing_is_said(viewer, widget, model_folder, skin):
    controls = widget.controls
    assert not controls.segment.isEnabled()
    assert not controls.paint.isEnabled()
    assert "Open a picture" in controls.reason_line.text()
    viewer.add_image(skin)
    assert "Choose a model" in controls.reason_line.text()
    controls.model.choose(model_folder)
    assert controls.segment.isEnabled()
    assert not controls.reason_line.isVisible()
    assert not controls.save.isEnabled()
    assert "Segment first" in controls.save.toolTip()
    assert not controls.detail.isEnabled()  # pixels, no µm
    widget.segment()
    assert "at least one stroke of two classes" in controls.state.text()


def test_strokes_become_an_overlay_that_follows_every_stroke(viewer, ready, qtbot):
    paint_all(qtbot, ready)
    assert ready.controls.failure.failure is None
    overlay, painted = named(viewer, "from strokes"), named(viewer, "· strokes")
    for layer in (overlay, painted):
        np.testing.assert_allclose(layer.extent.world, viewer.layers["skin"].extent.world)
    assert set(np.unique(overlay.data)) == {1, 2}
    assert (overlay.data == painted.data)[painted.data > 0].mean() > 0.9
    assert viewer.layers[-1] is painted
    assert viewer.layers.selection.active is painted
    assert painted.mode == "paint"
    assert [row.count.text() for row in ready.controls.classes.rows] == ["2 strokes", "2 strokes"]
    assert "Consistency of your strokes" in ready.controls.agreement.text()
    before = overlay.data.copy()
    stroke(ready, 2, 120, 150, 60)
    done(qtbot, ready)
    assert (overlay.data != before).any()
    assert named(viewer, "from strokes") is overlay
    assert "torch" not in sys.modules


def test_undo_takes_a_stroke_back_and_the_answer_with_it(viewer, ready, qtbot):
    paint_all(qtbot, ready)
    before = named(viewer, "from strokes").data.copy()
    stroke(ready, 1, 150, 150, 60)
    done(qtbot, ready)
    changed = named(viewer, "from strokes").data.copy()
    ready.controls.undo.click()
    done(qtbot, ready)
    np.testing.assert_array_equal(named(viewer, "from strokes").data, before)
    assert (changed != before).any()


def test_without_refresh_the_answer_waits_for_the_button(viewer, ready, qtbot):
    paint_all(qtbot, ready)
    ready.controls.live.setChecked(False)
    before = named(viewer, "from strokes").data.copy()
    stroke(ready, 1, 150, 150, 60)
    done(qtbot, ready)
    np.testing.assert_array_equal(named(viewer, "from strokes").data, before)
    assert "press Segment" in ready.controls.state.text()
    ready.controls.segment.click()
    done(qtbot, ready)
    assert (named(viewer, "from strokes").data != before).any()


def test_a_real_brush_paints(viewer, ready, qtbot):
    """Mouse events on the canvas, as a hand makes them."""
    viewer.reset_view()
    ready.controls.paint.click()
    painted = ready.strokes_layer
    native = viewer.window._qt_viewer.canvas.native

    def place(row, column):
        world = viewer.layers["skin"].data_to_world((row, column))
        camera, size = viewer.scene.camera, np.asarray(viewer.canvas.size)
        down, right = (np.array(world) - camera.center[-2:]) * camera.zoom + size / 2
        return QPoint(round(right), round(down))

    start, end = place(100, 80), place(100, 160)
    none = Qt.KeyboardModifier.NoModifier
    QTest.mousePress(native, Qt.MouseButton.LeftButton, none, start)
    buttons = (Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton, none)
    QApplication.sendEvent(
        native, QMouseEvent(QMouseEvent.Type.MouseMove, QPointF(end), QPointF(native.mapToGlobal(end)), *buttons)
    )
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, none, end)
    done(qtbot, ready)
    rows, columns = np.nonzero(painted.data)
    assert (painted.data[rows, columns] == 1).all()
    assert abs(rows.mean() - 100) < 3
    assert columns.min() < 85
    assert columns.max() > 155
    assert ready.controls.classes.rows[0].count.text() == "1 stroke"


def test_classes_are_named_coloured_added_and_removed(viewer, ready, qtbot):
    paint_all(qtbot, ready)
    classes = ready.controls.classes
    classes.rows[0].name.setText("Epidermis")
    classes.rows[0].name.editingFinished.emit()
    classes.rows[1].recoloured.emit((10, 20, 30))
    overlay, painted = named(viewer, "from strokes"), named(viewer, "· strokes")
    assert list(overlay.features["class"]) == ["Epidermis", "Class 2"]
    np.testing.assert_allclose(overlay.colormap.map(2)[:3] * 255, (10, 20, 30), atol=1)
    np.testing.assert_allclose(painted.colormap.map(2)[:3] * 255, (10, 20, 30), atol=1)
    classes.add_button.click()
    assert painted.selected_label == 3
    stroke(ready, 3, 140, 20, 40)
    done(qtbot, ready)
    assert set(np.unique(overlay.data)) == {1, 2, 3}
    classes.rows[2].remove.click()
    done(qtbot, ready)
    assert set(np.unique(overlay.data)) == {1, 2}
    assert set(np.unique(painted.data)) == {0, 1, 2}
    assert not classes.rows[0].remove.isEnabled()  # two are needed


def test_a_second_class_of_the_same_name_gets_a_number(ready):
    classes = ready.controls.classes
    classes.rows[1].name.setText("Class 1")
    classes.rows[1].name.editingFinished.emit()
    assert [one.name for one in classes.classes] == ["Class 1", "Class 1 2"]


def test_the_probability_of_a_class_is_shown(viewer, ready, qtbot):
    paint_all(qtbot, ready)
    ready.controls.probability.setCurrentIndex(ready.controls.probability.findData(2))
    done(qtbot, ready)
    layer, overlay = named(viewer, "probability of Class 2"), named(viewer, "from strokes")
    assert tuple(layer.contrast_limits) == (0, 1)
    np.testing.assert_array_equal(
        (layer.data > 0.5)[abs(layer.data - 0.5) > 0.01], (overlay.data == 2)[abs(layer.data - 0.5) > 0.01]
    )
    ready.controls.probability.setCurrentIndex(0)
    assert not layer.visible
    assert "out of date" in layer.name


def test_a_failed_question_withdraws_the_overlay(viewer, ready, qtbot, kill_the_worker):
    paint_all(qtbot, ready)
    overlay = named(viewer, "from strokes")
    kill_the_worker(ready.segment)
    done(qtbot, ready)
    assert "stopped unexpectedly" in ready.controls.failure.failure.line
    assert not overlay.visible
    assert "out of date" in overlay.name
    assert not ready.controls.save.isEnabled()
    assert named(viewer, "· strokes").visible
    ready.segment()
    done(qtbot, ready)
    assert overlay.visible
    assert overlay.name == "skin · from strokes"
    assert ready.controls.failure.failure is None


def test_moving_on_forgets_no_stroke(viewer, ready, qtbot):
    """Strokes of a field that is out of view still teach, until they are erased."""
    viewer.add_shapes(
        [np.array([[-0.5, -0.5], [-0.5, 319.5], [127.5, 319.5], [127.5, -0.5]])], name="above", scale=(0.5, 0.5), translate=(3, 4)
    )
    viewer.add_shapes(
        [np.array([[127.5, -0.5], [127.5, 319.5], [255.5, 319.5], [255.5, -0.5]])],
        name="below",
        scale=(0.5, 0.5),
        translate=(3, 4),
    )
    ready.controls.image.region_box.setCurrentText("above")
    for value, row, column in ((1, 30, 40), (2, 100, 200)):
        stroke(ready, value, row, column)
    done(qtbot, ready)
    assert named(viewer, "from strokes").data.shape == (128, 320)
    ready.controls.image.region_box.setCurrentText("below")
    ready.segment()
    done(qtbot, ready)
    overlay = named(viewer, "from strokes")
    assert ready.controls.failure.failure is None
    np.testing.assert_allclose(overlay.data_to_world((0, 0)), viewer.layers["skin"].data_to_world((128, 0)))
    assert set(np.unique(overlay.data)) <= {1, 2}
    assert overlay.visible
    painted = ready.strokes_layer
    assert painted.data.shape == (256, 320)
    strokes.erase_class(painted, 2)
    done(qtbot, ready)
    assert "at least one stroke of two classes" in ready.controls.state.text()
    assert not overlay.visible


def test_painting_outside_of_the_field_takes_the_view_anew(viewer, ready, qtbot):
    shapes = viewer.add_shapes(
        [np.array([[-0.5, -0.5], [-0.5, 319.5], [127.5, 319.5], [127.5, -0.5]])], name="part", scale=(0.5, 0.5), translate=(3, 4)
    )
    ready.controls.image.region_box.setCurrentText("part")
    for value, row, column in ((1, 30, 40), (2, 100, 200)):
        stroke(ready, value, row, column)
    done(qtbot, ready)
    shapes.data = [np.array([[63.5, -0.5], [63.5, 319.5], [250.5, 319.5], [250.5, -0.5]])]
    stroke(ready, 1, 80, 40)  # in both: the field stays
    done(qtbot, ready)
    assert named(viewer, "from strokes").data.shape == (128, 320)
    stroke(ready, 2, 200, 100)
    done(qtbot, ready)
    assert named(viewer, "from strokes").data.shape == (187, 320)


def test_a_head_is_saved_that_segments_alike(viewer, ready, qtbot, skin):
    paint_all(qtbot, ready)
    ready.controls.name.setText("my skin: head?")
    ready.controls.save.click()
    done(qtbot, ready)
    folder = Path(ready.controls.saved.text().splitlines()[0].removeprefix("Saved: "))
    assert folder.name == "my-skin-head"
    spec = HeadSpec.model_validate(json.loads((folder / "config.json").read_text()))
    assert (spec.task, spec.head.decoder, spec.mpp) == ("segmentation", "linear", 0.5)
    assert [one.name for one in spec.classes] == ["Class 1", "Class 2"]
    assert spec.provenance["strokes"] == {"1": 2, "2": 2}
    told = []
    query_worker().submit(
        SegmentRequest(str(folder), skin, mpp=0.5, measured=False, precision="fp32"),
        told.append,
        lambda failure: told.append(failure.line),
        user=ready,
        purpose="test",
    )
    done(qtbot, ready)
    assert (told[0].label_map.labels == named(viewer, "from strokes").data).mean() > 0.999
    ready.controls.save.click()
    done(qtbot, ready)
    assert "my-skin-head-2" in ready.controls.saved.text()


def test_what_is_saved_belongs_to_the_answer_not_to_what_was_chosen_since(viewer, ready, qtbot, skin, tmp_path):
    Image.fromarray(skin).save(tmp_path / "skin.png")
    Image.fromarray(skin[::-1]).save(tmp_path / "other.png")
    viewer.layers.clear()
    for name in ("other", "skin"):
        viewer.open(tmp_path / f"{name}.png", plugin="napari", scale=(0.5, 0.5), units=("µm", "µm"))
    ready.controls.image.choose(viewer.layers["skin"])
    ready.controls.classes.add("Muscle")
    stroke(ready, 3, 120, 150)
    paint_all(qtbot, ready)
    assert set(np.unique(named(viewer, "from strokes").data)) == {1, 2, 3}
    ready.controls.live.setChecked(False)
    ready.controls.classes.rows[2].remove.click()
    ready.controls.image.choose(viewer.layers["other"])
    assert not ready.controls.save.isEnabled(), "this picture has no answer"
    ready.controls.image.choose(viewer.layers["skin"])
    ready.controls.save.click()
    ready.controls.image.choose(viewer.layers["other"])
    done(qtbot, ready)
    assert ready.controls.failure.failure is None
    assert not ready.controls.save.isEnabled()
    folder = Path(ready.controls.saved.text().splitlines()[0].removeprefix("Saved: "))
    spec = HeadSpec.model_validate(json.loads((folder / "config.json").read_text()))
    assert [one.name for one in spec.classes] == ["Class 1", "Class 2", "Muscle"]
    assert spec.provenance["source"] == str(tmp_path / "skin.png")
    assert str(tmp_path / "skin.png") in ready.controls.command.text.toPlainText()


def test_knn_cannot_be_saved_and_says_why(viewer, ready, qtbot):
    paint_all(qtbot, ready)
    ready.controls.method.set("knn")
    done(qtbot, ready)
    assert named(viewer, "from strokes").visible
    assert not ready.controls.save.isEnabled()
    assert "k-NN" in ready.controls.save.toolTip()


def test_another_model_withdraws_the_answer(viewer, ready, qtbot, other_model_folder):
    paint_all(qtbot, ready)
    ready.controls.model.choose(other_model_folder)
    done(qtbot, ready)
    assert "out of date" in next(layer.name for layer in viewer.layers if "from strokes" in layer.name)
    assert not ready.controls.save.isEnabled()
    ready.segment()
    done(qtbot, ready)
    assert named(viewer, "from strokes").metadata["sdmae"]["model"] == str(other_model_folder)


def test_strokes_become_a_labelled_folder_for_fine_tuning(viewer, ready, qtbot, model_folder, skin):
    paint_all(qtbot, ready)
    ready.controls.finetune.click()
    qtbot.waitUntil(lambda: "Strokes kept" in ready.controls.saved.text(), timeout=30000)
    folder = Path(ready.controls.saved.text().split(" in ", 1)[1].rsplit(" (", 1)[0])
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {float(row["mpp"]) for row in rows} == {0.5}
    values, painted = np.zeros(256, int), ready.strokes_layer.data
    for row in rows:
        values += np.bincount(np.asarray(Image.open(folder / row["mask"])).ravel(), minlength=256)
    assert (values[1], values[2]) == ((painted == 1).sum(), (painted == 2).sum())
    assert values[255] > 0  # not painted: not learned
    assert values[0] == 0
    assert [one["name"] for one in json.loads((folder / "classes.json").read_text())["classes"]] == ["Class 1", "Class 2"]
    (finetune,) = viewer.window._qt_window.findChildren(FinetuneWidget)
    assert finetune.new_run.source.path == folder
    assert finetune.new_run.model.model == str(model_folder)


def test_the_slice_of_a_stack_in_view_is_segmented(viewer, widget, qtbot, model_folder, skin):
    viewer.add_image(np.stack([skin, skin[:, ::-1], skin[::-1]]), name="stack", rgb=True, scale=(5, 0.5, 0.5), units=("µm",) * 3)
    widget.controls.model.choose(model_folder)
    viewer.dims.set_point(0, 5)
    paint_all(qtbot, widget)
    overlay, painted = named(viewer, "from strokes"), named(viewer, "· strokes")
    assert overlay.data.shape == painted.data.shape == (1, 256, 320)
    np.testing.assert_allclose(overlay.data_to_world((0, 0, 0)), (5, 0, 0))
    assert (overlay.data == painted.data)[painted.data > 0].mean() > 0.9
    viewer.dims.set_point(0, 10)
    widget.segment()  # the strokes of the other slice teach this one
    done(qtbot, widget)
    assert widget.controls.failure.failure is None
    np.testing.assert_allclose(named(viewer, "from strokes").data_to_world((0, 0, 0)), (10, 0, 0))


def test_a_pyramid_and_a_rotated_layer(viewer, widget, qtbot, model_folder, skin):
    turn = np.deg2rad(30)
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    viewer.add_image([skin, skin[::2, ::2]], name="slide", multiscale=True, scale=(0.25, 0.25), rotate=rotate, units=("µm", "µm"))
    widget.controls.model.choose(model_folder)  # at 0.5 µm/px: the second level
    for value, row, column in ((1, 15, 20), (1, 30, 100), (2, 90, 30), (2, 110, 110)):
        stroke(widget, value, row, column, 15)
    done(qtbot, widget)
    assert widget.controls.failure.failure is None
    overlay, painted = named(viewer, "from strokes"), named(viewer, "· strokes")
    assert overlay.data.shape == painted.data.shape == (128, 160)
    assert (overlay.data == painted.data)[painted.data > 0].mean() > 0.9
    centre = viewer.layers["slide"].data_to_world((100.5, 200.5))
    np.testing.assert_allclose(overlay.data_to_world((50, 100)), centre)


def test_own_labels_are_taken_as_strokes(viewer, ready, qtbot):
    data = np.zeros((128, 160), np.int32)  # coarser than the picture
    data[15:18, 20:40] = data[30:33, 100:120] = 4
    data[90:93, 30:50] = data[110:113, 110:130] = 7
    viewer.add_labels(data, name="mine", scale=(1, 1), translate=(3.25, 4.25))
    ready.controls.adopt.click()
    done(qtbot, ready)
    assert ready.controls.failure.failure is None
    assert [one.value for one in ready.controls.classes.classes] == [4, 7]
    overlay = named(viewer, "from strokes")
    assert set(np.unique(overlay.data)) == {4, 7}
    assert (overlay.data[30:36, 40:80] == 4).mean() > 0.9


def test_objects_are_refused_as_strokes(viewer, ready):
    viewer.add_labels(np.arange(256 * 320).reshape(256, 320), name="nuclei")
    ready.controls.adopt.click()
    assert "these are objects" in ready.controls.failure.failure.line


def test_it_goes_on_with_strokes_that_are_there(viewer, ready, qtbot, model_folder, dock):
    ready.controls.classes.rows[0].name.setText("Epidermis")
    ready.controls.classes.rows[0].name.editingFinished.emit()
    paint_all(qtbot, ready)
    again = ScribblesWidget(viewer)
    dock(viewer, again)
    assert [one.name for one in again.controls.classes.classes] == ["Epidermis", "Class 2"]
    assert again.strokes_layer is ready.strokes_layer
    assert [row.count.text() for row in again.controls.classes.rows] == ["2 strokes", "2 strokes"]


def test_choices_are_remembered(viewer, ready, qtbot, dock):
    ready.controls.method.set("knn")
    ready.controls.live.setChecked(False)
    paint_all(qtbot, ready)
    ready.segment()
    done(qtbot, ready)
    again = ScribblesWidget(viewer)
    dock(viewer, again)
    assert (again.controls.method.get(), again.controls.live.isChecked()) == ("knn", False)


def test_everything_fits_a_narrow_dock(viewer, ready, qtbot):
    paint_all(qtbot, ready)
    ready.setFixedWidth(300)
    qtbot.wait(50)
    inner = ready.viewport().width()
    for child in ready.controls.findChildren(type(ready.controls.paint)):
        if child.isVisible():
            right = child.mapTo(ready.controls, child.rect().topRight()).x()
            assert right <= inner
            assert child.fontMetrics().horizontalAdvance(child.text()) <= child.width()


def test_painted_pixels_land_where_they_were_painted(viewer, make_viewer):
    """Strokes of another scale and place than the picture, by napari's own transforms."""
    image = viewer.add_image(np.zeros((50, 60)), scale=(0.5, 0.5), translate=(2, 3), rotate=20)
    labels = viewer.add_labels(np.zeros((30, 40), int), scale=(1, 1), translate=(1, 5), rotate=20)
    rows, columns = np.array([3, 10, 22]), np.array([4, 20, 9])
    labels.data[rows, columns] = (1, 2, 2)
    field = Field(Source.of(image), (0, 0), (50, 60))
    expected = np.array([image.world_to_data(labels.data_to_world(place)) for place in zip(rows, columns, strict=True)])
    inside = ((expected >= -0.5) & (expected < (49.5, 59.5))).all(1)
    found = strokes.painted(labels, field, [1, 2])
    assert inside.sum() > 1
    np.testing.assert_allclose(found.positions, expected[inside], atol=1e-4)
    np.testing.assert_array_equal(found.values, np.array([1, 2, 2])[inside])
