"""Labels in the dock to files and back, corrected and saved: a real viewer and a real worker, no head needed."""

import csv
import json
import sys

import numpy as np
import pytest
from napari.layers import Labels
from PIL import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_sdmae.io.labels.registry import FORMATS, format_of
from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.layers.base import Field, Source
from napari_sdmae.layers.labels import labels_layer
from napari_sdmae.widgets.canvas import edit_labels as edit
from napari_sdmae.widgets.canvas.show_layers import update_layers
from napari_sdmae.widgets.worker_client import query_worker

pytestmark = pytest.mark.gui
CLASSES = make_classes(["epithelial", "lymphocyte"], first=1)
IMAGE = np.random.default_rng(0).integers(100, 255, (120, 160, 3), np.uint8)


def nuclei(count=6, gap=20, size=9, shape=(80, 120), origin=(10.0, 20.0), source=""):
    labels = np.zeros(shape, np.int32)
    columns = shape[1] // gap
    for number in range(count):
        row, column = number // columns * gap + 4, number % columns * gap + 4
        labels[row : row + size, column : column + size] = number + 1
    class_of = {number: number % 2 + 1 for number in range(1, count + 1)}
    return LabelMap(labels, CLASSES, True, class_of, mpp=0.25, origin=origin, source=source)


@pytest.fixture
def widget(viewer, fresh_memory):
    _, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Segment")
    QApplication.processEvents()
    yield widget
    query_worker().release()


@pytest.fixture
def opened(viewer, widget, tmp_path):
    """A picture from a file with corrected nuclei of a part of it, and the layer of these."""
    file = tmp_path / "slide.png"
    Image.fromarray(IMAGE).save(file)
    (image,) = viewer.open(file, plugin="napari", scale=(0.25, 0.25), units=("µm", "µm"), rotate=15)
    field = Field(Source.of(image), (10, 20), (80, 120), 1.0, (), 160)
    (layer,) = update_layers(viewer, [labels_layer(nuclei(source=str(file)), field, {"task": "instances"})])
    edit.remember_original(layer)
    widget.desk.choose(layer)
    return layer


def wait_done(qtbot):
    qtbot.waitUntil(lambda: not query_worker().busy, timeout=90000)
    qtbot.wait(20)


class Pulse:
    """Counts the calls of functions, Python's and C's, between two turns of the event loop: work, whatever the machine."""

    def __init__(self):
        self.most, self.beats, self._calls = 0, 0, 0
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)
        sys.setprofile(self._count)  # of this thread, the one of the window

    def _count(self, frame, event, argument):
        self._calls += event in ("call", "c_call")

    def _beat(self):
        self.most, self.beats, self._calls = max(self.most, self._calls), self.beats + 1, 0

    def stop(self):
        sys.setprofile(None)
        self._timer.stop()
        self._beat()


def test_fifty_thousand_nuclei_are_written_without_stopping_the_window(viewer, widget, qtbot, tmp_path):
    many = nuclei(50_000, gap=14, size=9, shape=(3136, 3136), origin=(0, 0))
    image = viewer.add_image(np.zeros((3136, 3136), np.uint8), name="slide", scale=(0.25, 0.25), units=("µm", "µm"))
    (layer,) = update_layers(viewer, [labels_layer(many, Field(Source.of(image), (0, 0), (3136, 3136)))])
    widget.desk.choose(layer)
    assert len(np.unique(layer.data)) == 50_001
    form = widget.desk.export
    form.choose(tmp_path / "many")
    qtbot.wait(300)
    pulse = Pulse()
    form.button.click()
    assert not form.button.isEnabled()
    assert query_worker().busy
    qtbot.waitUntil(lambda: not query_worker().busy)
    qtbot.wait(20)
    pulse.stop()
    print(f"{pulse.beats} turns of the event loop, at most {pulse.most} calls between two: {form.state.text()}")
    assert form.failure.failure is None
    assert pulse.beats > 2, "the window stood still until all was written"
    assert pulse.most < 25_000, "the window's process does something for each nucleus; benchmarks/event_loop.py has the times"
    assert (tmp_path / "many.geojson").read_text().count('"type":"Feature"') == 50_000


def test_every_format_is_written_and_opens_as_the_same_labels_on_the_picture(viewer, widget, opened, qtbot, tmp_path):
    form = widget.desk.export
    assert form.file.get() == str(tmp_path / "slide-labels.geojson")
    for name, one in FORMATS.items():
        form.format_box.setCurrentIndex(form.format_box.findData(name))
        assert form.geojson.isVisibleTo(form) == (name == "geojson")
        form.choose(tmp_path / f"out-{name}")
        path = tmp_path / f"out-{name}{one.suffixes[0]}"
        form.button.click()
        wait_done(qtbot)
        assert form.failure.failure is None, (name, form.failure.failure)
        assert path.exists()
        assert str(path.name) in form.state.text()
        if not one.keeps:
            continue
        widget.desk.exporting.open(path)
        wait_done(qtbot)
        assert form.failure.failure is None, (name, form.failure.failure)
        layer = widget.desk.labels.layer
        assert layer is not opened
        np.testing.assert_array_equal(layer.data, opened.data, err_msg=name)
        np.testing.assert_allclose(layer.data_to_world((3, 7)), opened.data_to_world((3, 7)), err_msg=name)
        assert [one.name for one in edit.classes_of(layer)] == ["epithelial", "lymphocyte"]
        assert edit.class_value(layer, 2) == 1
        widget.desk.labels.choose(opened)
    assert len([one for one in viewer.layers if isinstance(one, Labels)]) == len(FORMATS)  # all but the table, and the first


def test_the_command_converts_the_file_they_are_in(widget, opened, qtbot, tmp_path):
    form, line = widget.desk.export, widget.desk.export.command_line
    assert line.text.toPlainText() == ""
    form.choose(tmp_path / "one")
    form.button.click()
    wait_done(qtbot)
    form.format_box.setCurrentIndex(form.format_box.findData("ome-tiff"))
    command = line.text.toPlainText()
    assert command.startswith(f"sdmae export {tmp_path / 'one.geojson'} --output {tmp_path / 'one.ome.tif'}")
    line.copy.click()
    assert QApplication.clipboard().text() == command
    opened.data_setitem((np.array([0]), np.array([0])), 1)  # now the file no longer holds these labels
    form.changed.emit()
    assert line.text.toPlainText() == ""


def test_qupath_s_choice_of_objects(widget, opened, qtbot, tmp_path, answer_box):
    form = widget.desk.export
    form.choose(tmp_path / "cells")
    form.type_box.setCurrentIndex(form.type_box.findData("annotation"))
    assert form.wanted.options == {"format": "geojson", "object_type": "annotation", "bounds": None}
    form.button.click()
    wait_done(qtbot)
    written = json.loads((tmp_path / "cells.geojson").read_text())["features"]
    assert {one["properties"]["objectType"] for one in written} == {"annotation"}
    form.subtract.setChecked(True)
    assert form.wanted.bounds == str(tmp_path / "slide.png")
    answer_box("Replace")
    form.button.click()
    wait_done(qtbot)
    assert "slide.png" in form.failure.failure.line  # a PNG has no slide bounds


def test_a_file_that_is_there_is_replaced_only_when_asked(widget, opened, qtbot, tmp_path, answer_box):
    form = widget.desk.export
    (tmp_path / "there.geojson").write_text("old")
    form.choose(tmp_path / "there")
    answer_box("Cancel")
    form.button.click()
    wait_done(qtbot)
    assert (tmp_path / "there.geojson").read_text() == "old"
    assert form.state.text() == "Nothing was written."
    answer_box("Replace")
    form.button.click()
    wait_done(qtbot)
    assert (tmp_path / "there.geojson").read_text().startswith('{"type": "FeatureCollection"')


def test_a_folder_of_others_is_refused_without_a_question(widget, opened, qtbot, tmp_path):
    form = widget.desk.export
    for name in ("mine.geojson", "mine.ome.tif", "mine.csv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years of work")
        form.format_box.setCurrentIndex(form.format_box.findData(format_of(name)))
        form.choose(tmp_path / name)
        form.button.click()
        wait_done(qtbot)
        assert "is a folder, where a file is to be written" in form.failure.failure.line
        assert (tmp_path / name / "thesis.txt").read_text() == "years of work"


def test_what_cannot_be_written_or_read_is_said(widget, opened, qtbot, tmp_path, monkeypatch):
    form = widget.desk.export
    (tmp_path / "file").write_text("no folder")
    form.choose(tmp_path / "file" / "labels")
    form.button.click()
    wait_done(qtbot)
    assert "file" in form.failure.failure.line
    assert form.button.isEnabled()
    (tmp_path / "broken.geojson").write_text("{")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(tmp_path / "broken.geojson"), ""))
    form.open_button.click()
    wait_done(qtbot)
    assert "broken.geojson" in form.failure.failure.line
    far = nuclei(origin=(5000.0, 5000.0))
    (tmp_path / "far.geojson").write_text((tmp_path / "broken.geojson").read_text())
    from napari_sdmae.io.labels.registry import export_labels

    export_labels(far, tmp_path / "far.geojson", overwrite=True)
    widget.desk.exporting.open(tmp_path / "far.geojson")
    wait_done(qtbot)
    assert "outside of the picture" in form.failure.failure.line
    form.file.set("")
    assert form.reason_line.text() == "Choose the file to write."
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "chosen"), ""))
    form.browse_button.click()
    assert form.file.get() == str(tmp_path / "chosen.geojson")


def test_geojson_of_qupath_opens_on_the_picture(viewer, widget, opened, qtbot, tmp_path):
    ring = [[30, 40], [50, 40], [50, 60], [30, 60], [30, 40]]
    properties = {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}}
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}
    (tmp_path / "qupath.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    widget.desk.exporting.open(tmp_path / "qupath.geojson")
    wait_done(qtbot)
    assert widget.desk.export.failure.failure is None
    layer = widget.desk.labels.layer
    image = viewer.layers["slide"]
    rows, columns = np.nonzero(layer.data)
    places = np.array([image.world_to_data(layer.data_to_world(place)) for place in zip(rows, columns, strict=True)])
    np.testing.assert_allclose(places.min(0), (40, 30), atol=1e-6)
    np.testing.assert_allclose(places.max(0), (59, 49), atol=1e-6)
    assert [one.name for one in edit.classes_of(layer)] == ["Tumor"]


def test_painting_measures_again(widget, opened, qtbot):
    table, panel = widget.desk.table, widget.desk.corrections
    panel.class_box.setCurrentIndex(1)
    panel.new.click()
    assert opened.selected_label == 7
    with opened.block_history():
        opened.paint((70, 100), 7)
    qtbot.waitUntil(lambda: table.model.rowCount() == 7, timeout=60000)
    area = next(name for name in table.model.table.columns if "area" in name)
    row = table.model.table.set_index("label").loc[7]
    assert row[area] == pytest.approx((opened.data == 7).sum() * 0.0625)
    assert row["class"] == "lymphocyte"
    assert any("haematoxylin" in name for name in table.model.table.columns)
    assert table.chosen == 7
    panel.undo.click()
    qtbot.waitUntil(lambda: table.model.rowCount() == 6, timeout=60000)


def test_what_is_exported_at_once_after_a_stroke_is_measured_first(widget, opened, qtbot, tmp_path):
    form, panel = widget.desk.export, widget.desk.corrections
    form.choose(tmp_path / "measured")
    opened.selected_label = 1
    with opened.block_history():
        opened.paint((70, 100), 1)
    form.button.click()
    assert form.state.text() == "Measuring the changes, then writing…"
    assert not widget.desk.table.save_button.isEnabled()
    assert not panel._timer.isActive()
    qtbot.waitUntil(lambda: form.state.text().startswith("Written"), timeout=60000)
    features = json.loads((tmp_path / "measured.geojson").read_text())["features"]
    found = [one["properties"]["measurements"] for one in features]
    areas = sorted(next(value for name, value in one.items() if "area" in name.lower()) for one in found)
    expected = sorted(np.bincount(opened.data.ravel())[1:] * 0.0625)
    np.testing.assert_allclose(areas, expected, rtol=1e-6)


def test_labels_left_right_after_a_stroke_are_still_measured(viewer, widget, opened, qtbot):
    other = viewer.add_labels(np.zeros((8, 8), np.int32), name="other")
    opened.selected_label = 1
    with opened.block_history():
        opened.paint((70, 100), 1)
    widget.desk.labels.choose(other)
    area = lambda: next((name for name in opened.features.columns if "area" in name), None)  # noqa: E731
    qtbot.waitUntil(lambda: area() is not None, timeout=60000)
    measured = opened.features.set_index("label").loc[1, area()]
    assert measured == pytest.approx((opened.data == 1).sum() * 0.0625)
    assert widget.desk.table.model.rowCount() == 0


def test_measurements_that_cannot_be_renewed_go(viewer, widget, opened, qtbot):
    widget.desk.measure(opened)
    qtbot.waitUntil(lambda: widget.desk.table.model.rowCount() == 6, timeout=60000)
    viewer.add_image(np.zeros((30, 40), np.uint8), name="small")
    widget.controls.image.choose(viewer.layers["small"])
    opened.selected_label = 1
    with opened.block_history():
        opened.paint((70, 100), 1)
    qtbot.waitUntil(lambda: widget.desk.measuring.failure is not None, timeout=60000)
    assert "reach beyond" in widget.desk.measuring.failure.line
    assert len(opened.features) == 0
    assert widget.desk.table.model.rowCount() == 0


def test_corrections_are_saved_beside_the_picture(widget, opened, qtbot, tmp_path, answer_box):
    panel, folder = widget.desk.corrections, tmp_path / "corrections-instances"
    assert panel.folder.text.placeholderText() == str(folder)
    panel.save.click()
    wait_done(qtbot)
    assert widget.desk.saving.failure is None
    assert "Fine-tune reads this folder" in panel.state.text()
    (row,) = csv.DictReader((folder / "table.csv").read_text().splitlines())
    assert row["file"] == "images/slide-r10-c20-80x120.tif"
    np.testing.assert_array_equal(np.asarray(Image.open(folder / row["mask"])), opened.data)
    import tifffile

    np.testing.assert_array_equal(tifffile.imread(folder / row["file"]), IMAGE[10:90, 20:140])
    (about,) = json.loads((folder / "provenance.json").read_text()).values()
    assert about["source"] == str(tmp_path / "slide.png")
    assert (about["origin"], about["mpp"]) == ([10.0, 20.0], 0.25)
    opened.data_setitem((np.array([79]), np.array([119])), 1)
    for choice, last in (("Cancel", 0), ("Replace", 1)):
        answer_box(choice)
        panel.save.click()
        wait_done(qtbot)
        qtbot.wait(50)
        wait_done(qtbot)
        assert np.asarray(Image.open(folder / row["mask"]))[79, 119] == last
    (tmp_path / "file").write_text("no folder")
    panel.folder.set(tmp_path / "file" / "below")
    panel.save.click()
    wait_done(qtbot)
    assert "file" in widget.desk.saving.failure.line
