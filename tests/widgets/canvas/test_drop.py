"""Files and folders dropped on docks and their fields, by the events that Qt sends for a real drag."""

import json
from pathlib import Path
from types import SimpleNamespace

import label_cases as cases
import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QLabel, QLineEdit

from napari_sdmae.io.labels.registry import export_labels
from napari_sdmae.widgets.canvas import drop as _drop
from napari_sdmae.widgets.forms.data_edit import DataEdit
from napari_sdmae.widgets.forms.path_edit import FolderEdit
from napari_sdmae.widgets.inputs import images_source
from napari_sdmae.widgets.inputs import model as _model_input
from napari_sdmae.widgets.segment.export_form import ExportForm
from napari_sdmae.widgets.worker_client import query_worker

pytestmark = pytest.mark.gui


@pytest.fixture
def warned(monkeypatch):
    lines = []
    for module in (_drop, _model_input):
        monkeypatch.setattr(module, "show_warning", lines.append)
    return lines


def drop(target, *paths):
    """Drag `paths` over `target` and let go; return whether somebody took them."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    buttons = (Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    enter = QDragEnterEvent(QPoint(3, 3), Qt.DropAction.CopyAction, data, *buttons)
    QApplication.sendEvent(target, enter)
    event = QDropEvent(QPointF(3, 3), Qt.DropAction.CopyAction, data, *buttons)
    QApplication.sendEvent(target, event)
    return enter.isAccepted()


def test_a_folder_fills_a_folder_field_and_several_are_not_guessed(qtbot, tmp_path, warned):
    file = tmp_path / "table.csv"
    file.write_text("x")
    for edit, of_file in ((FolderEdit(), tmp_path), (DataEdit(), file)):
        qtbot.addWidget(edit)
        for target in (edit, edit.findChild(QLineEdit), edit.button):
            edit.set(None)
            assert drop(target, tmp_path)
            assert edit.get() == tmp_path
        drop(edit.text, file)
        assert edit.get() == of_file
        drop(edit.text, tmp_path, file)
        assert edit.get() == of_file
        assert "Drop one file or folder, not 2" in warned.pop()


def test_text_is_still_dropped_as_text(qtbot):
    edit = FolderEdit()
    qtbot.addWidget(edit)
    edit.set(Path("/here"))
    for address in ("", "https://example.org/a.tif"):
        data = QMimeData()
        data.setText("/somewhere")
        data.setUrls([QUrl(address)] if address else [])
        buttons = (Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
        event = QDropEvent(QPointF(3, 3), Qt.DropAction.CopyAction, data, *buttons)
        assert not edit.text.findChild(_drop._Drop).eventFilter(edit.text, event)
    assert edit.get() == Path("/here")


def test_the_file_to_write_is_chosen_by_a_drop(qtbot, tmp_path, fresh_memory):
    form = ExportForm()
    qtbot.addWidget(form)
    form.file.set("/elsewhere/a.geojson")
    drop(form.file, tmp_path)
    assert form.wanted.path == tmp_path / "a.geojson"


def test_a_run_dropped_on_a_dock_is_watched_and_a_folder_learned_from(qtbot, tmp_path):
    attached, used, tabs = [], [], []
    dock = SimpleNamespace(
        attach=attached.append,
        new_run=SimpleNamespace(source=SimpleNamespace(use=used.append)),
        tabs=SimpleNamespace(setCurrentIndex=tabs.append),
    )
    run = tmp_path / "run"
    run.mkdir()
    images_source.take_run_or_images(dock, run)
    (run / "status.json").write_text(json.dumps({}))
    images_source.take_run_or_images(dock, tmp_path)
    assert (used, attached, tabs) == ([run, tmp_path], [], [0, 0])


@pytest.mark.parametrize("title", ["Pre-train", "Fine-tune", "Attention", "Reconstruct", "Scribbles"])
def test_every_dock_takes_what_is_dropped_anywhere_on_it(viewer, title, fresh_memory, tmp_path, model_folder, warned):
    _, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", title)
    label = widget.findChild(QLabel)
    if title in ("Pre-train", "Fine-tune"):
        assert drop(label, tmp_path)
        assert widget.new_run.source.path == tmp_path
        return
    model = widget.model if title == "Reconstruct" else widget.controls.model
    assert drop(label, model_folder)
    assert model.folder == str(model_folder)
    drop(model.box.lineEdit(), tmp_path)
    assert model.model == str(tmp_path)
    drop(label, model_folder / "config.json")
    assert model.model == str(model_folder)
    (tmp_path / "slide.tif").touch()
    drop(label, tmp_path / "slide.tif")
    assert "not a model" in warned.pop()
    assert model.model == str(model_folder)


def test_segment_takes_labels_and_heads(viewer, fresh_memory, tmp_path, head_folders, qtbot):
    _, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Segment")
    label_map = cases.objects(cases.hard(), origin=(0.0, 0.0))
    viewer.add_image(np.zeros((512, 512, 3), np.uint8))
    label = widget.controls.note  # on the head field everything is a head
    assert drop(label, head_folders / "segmentation")
    assert widget.controls.head.model == str(head_folders / "segmentation")
    export_labels(label_map, tmp_path / "a.ome.zarr")
    drop(label, tmp_path / "a.ome.zarr" / "labels")
    qtbot.waitUntil(lambda: not query_worker().busy, timeout=90000)
    assert widget.desk.export.failure.failure is None
    assert widget.desk.labels.layer.name.endswith("a.ome.zarr")
    export_labels(label_map, tmp_path / "b.geojson")
    drop(label, tmp_path)
    assert "Drop one file of labels, not the 2 in" in widget.controls.failure.failure.line
