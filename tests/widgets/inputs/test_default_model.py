"""The model that comes with the package: chosen in every dock, its card readable, a newcomer's two clicks."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sdmae.humanize import size
from napari_sdmae.io.model_info.info import default_model, model_info
from napari_sdmae.widgets.attention.dock import AttentionWidget
from napari_sdmae.widgets.base.preferences import memory_file, remember_recent
from napari_sdmae.widgets.finetune.dock import FinetuneWidget
from napari_sdmae.widgets.inputs.model import ModelInput
from napari_sdmae.widgets.inputs.model_card import CardDialog
from napari_sdmae.widgets.reconstruct.dock import ReconstructWidget
from napari_sdmae.widgets.scribbles.dock import ScribblesWidget
from napari_sdmae.widgets.segment.dock import SegmentWidget
from napari_sdmae.widgets.worker_client import query_worker

pytestmark = pytest.mark.gui
PICTURES = os.environ.get("SDMAE_TEST_PICTURES")
"""Folder for pictures of the windows, to look at them."""


def photograph(widget, name):
    QApplication.processEvents()
    if PICTURES:
        widget.grab().save(str(Path(PICTURES) / f"{name}.png"))


def texts(input_):
    return [input_.box.itemText(index) for index in range(input_.box.count())]


def answered(qtbot):
    qtbot.waitUntil(lambda: not query_worker().busy, timeout=120000)
    qtbot.wait(20)


def assert_nothing_is_cut(label):
    """The text fits into the label as laid out."""
    assert label.isVisible()
    assert label.heightForWidth(label.width()) <= label.height()


@pytest.mark.parametrize(
    ("name", "button", "model", "layer"),
    [
        ("Reconstruct", lambda dock: dock.button, lambda dock: dock.model, "reconstruction"),
        ("Attention", lambda dock: dock.controls.show_button, lambda dock: dock.controls.model, "attention"),
    ],
)
def test_two_clicks_from_a_sample_to_a_picture(
    really_shipped, warm_worker, viewer, fresh_memory, qtbot, name, button, model, layer
):
    viewer.open_sample("napari-sdmae", "region")
    _, dock = viewer.window.add_plugin_dock_widget("napari-sdmae", name)
    QApplication.processEvents()
    chosen = model(dock)
    expected = default_model()
    assert (chosen.model, chosen.box.currentText()) == (expected, model_info(expected).title)
    assert chosen.about.text().startswith("Comes with napari-sdmae · vit_")
    assert_nothing_is_cut(chosen.about)
    assert_nothing_is_cut(chosen.card.use)
    assert button(dock).isEnabled()
    photograph(viewer.window._qt_window, f"{name}-before")
    QTest.mouseClick(button(dock), Qt.MouseButton.LeftButton)
    answered(qtbot)
    assert any(f" · {layer}" in one.name and one.visible for one in viewer.layers), [one.name for one in viewer.layers]
    photograph(viewer.window._qt_window, f"{name}-after")
    viewer.window._qt_window.resize(1000, 600)  # the dock scrolls, and is narrower by its scroll bar
    QApplication.processEvents()
    assert_nothing_is_cut(chosen.about)
    assert_nothing_is_cut(chosen.card.use)
    assert json.loads(memory_file().read_text())["models"] == [expected]


def test_scribbles_has_it_too(shipped, viewer, fresh_memory, dock):
    viewer.open_sample("napari-sdmae", "region")
    widget = ScribblesWidget(viewer)
    dock(viewer, widget)
    assert widget.controls.model.model == "tissue"
    assert widget.controls.segment.isEnabled()
    assert_nothing_is_cut(widget.controls.model.card.use)
    photograph(viewer.window._qt_window, "Scribbles")


def test_the_shipped_head_is_chosen_and_segments(shipped, warm_worker, viewer, fresh_memory, qtbot, dock, tissue):
    with Image.open(sorted(tissue.glob("tiles/*/*.jpg"))[0]) as picture:
        viewer.add_image(np.asarray(picture)[:96, :128], name="tile", scale=(0.5, 0.5), units=("µm", "µm"))
    widget = SegmentWidget(viewer)
    dock(viewer, widget)
    head = widget.controls.head
    assert (head.model, texts(head), head.head.task) == ("nuclei", ["Nuclei, small"], "instances")
    assert head.about.text().startswith("Comes with napari-sdmae · Instances: outlines each nucleus")
    assert_nothing_is_cut(head.card.use)
    QTest.mouseClick(widget.controls.button, Qt.MouseButton.LeftButton)
    answered(qtbot)
    assert widget.controls.failure.failure is None
    assert widget.controls.state.text()
    photograph(viewer.window._qt_window, "Segment")


def test_what_was_used_last_comes_first(shipped, viewer, fresh_memory, model_folder, dock):
    remember_recent("models", str(model_folder))
    first = ReconstructWidget(viewer)
    dock(viewer, first)
    assert first.model.model == str(model_folder)
    assert texts(first.model) == [str(model_folder), "Tissue, small"]
    first.model.choose("tissue")
    first.model.used()
    second = ReconstructWidget(viewer)
    assert (second.model.model, texts(second.model)) == ("tissue", ["Tissue, small", str(model_folder)])
    assert second.model.folder == str(shipped / "tissue")
    first.model.refresh()
    assert first.model.model == "tissue"


def test_fine_tuning_and_comparing_offer_it_but_choose_none(shipped, viewer, fresh_memory, dock):
    page = FinetuneWidget(viewer)
    dock(viewer, page)
    model = page.new_run.model
    assert (model.model, texts(model)) == ("", ["", "Tissue, small", "Nuclei, small"])
    model.box.setCurrentIndex(1)
    model.box.activated.emit(1)
    assert page.new_run.chosen_model == "tissue"
    attention = AttentionWidget(viewer)
    assert (attention.controls.second.model, texts(attention.controls.second)) == ("", ["", "Tissue, small"])


def test_a_command_names_it(shipped, viewer, fresh_memory, dock, tissue):
    picture = sorted(tissue.glob("tiles/*/*.jpg"))[0]
    viewer.open(picture, plugin="napari")
    widget = ReconstructWidget(viewer)
    dock(viewer, widget)
    assert widget.command_line.text.toPlainText().startswith(f"sdmae reconstruct tissue {picture} ")


def test_its_card_is_one_click_away(shipped, viewer, fresh_memory, dock, qtbot):
    widget = ReconstructWidget(viewer)
    dock(viewer, widget)
    card = widget.model.card
    assert card.use.text() == "Research use only, not for diagnosis."
    assert card.button.width() >= card.button.sizeHint().width()
    QTest.mouseClick(card.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(widget.findChildren(CardDialog)))
    (dialog,) = widget.findChildren(CardDialog)
    assert dialog.windowTitle() == "About Tissue, small"
    text = dialog.text.toPlainText()
    weights = size((widget.model.info.folder / "model.safetensors").stat().st_size)
    for expected in ("Tissue, small", "Data", "Licence", "Recipe", "Metrics", "Limits", "Research use only", "3 blocks", weights):
        assert expected in text
    photograph(dialog, "card")
    dialog.close()
    qtbot.waitUntil(lambda: not widget.findChildren(CardDialog))


def test_a_model_without_a_card_says_so(viewer, fresh_memory, model_folder, dock):
    widget = ReconstructWidget(viewer)
    dock(viewer, widget)
    assert not widget.model.card.isVisible()
    widget.model.choose(model_folder)
    assert widget.model.card.isVisible()
    dialog = widget.model.card.open()
    assert "This model has no card" in dialog.text.toPlainText()
    assert "Research use only, not for diagnosis." in dialog.text.toPlainText()
    dialog.close()


def test_where_none_is_shipped_one_is_asked_for(viewer, fresh_memory, dock):
    widget = ModelInput()
    dock(viewer, widget)
    assert (widget.model, texts(widget)) == ("", [])
    assert widget.problem.startswith("Choose a model")
    assert widget.card.open() is None


def broken(folder, name, change):
    """Return a copy of the shipped model with something wrong in it."""
    copy = Path(shutil.copytree(model_info(default_model()).folder, folder / name))
    change(copy)
    return copy


def set_scale(folder, mpp):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"mpp": mpp}))


def end_in_nan(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-2] + b"\x00\x7e")  # of 16 bits


def test_the_field_of_a_model_names_what_is_wrong_with_it(really_shipped, fresh_memory, qtbot, tmp_path):
    field = ModelInput()
    qtbot.addWidget(field)
    for name, change, reason in (
        ("scale", lambda folder: set_scale(folder, -1), "config.json: mpp is -1; expected µm per pixel"),
        ("numbers", end_in_nan, "holds numbers that are NaN or infinite"),
        ("alone", lambda folder: (folder / "model.safetensors").unlink(), "has config.json but no model.safetensors"),
    ):
        field.choose(broken(tmp_path, name, change))
        assert field.info is None
        assert reason in field.problem
        assert field.about.text() == field.problem
        assert "\n" not in field.problem


def test_a_field_that_was_cleared_stays_empty(really_shipped, fresh_memory, qtbot):
    """The shipped model is chosen to begin with, and never comes back by itself."""
    field = ModelInput()
    qtbot.addWidget(field)
    assert field.model == default_model()
    field.choose("")
    field.refresh()
    assert (field.model, field.info) == ("", None)
    assert field.problem.startswith("Choose a model")


def test_a_title_shows_its_beginning_and_a_path_its_end(really_shipped, fresh_memory, qtbot, tmp_path):
    field = ModelInput()
    qtbot.addWidget(field)
    field.choose(default_model())
    field.box.resize(120, field.box.sizeHint().height())
    assert (field.box.lineEdit().cursorPosition(), field.box.currentText()[:6]) == (0, "Tissue")
    assert field.box.line.shown_text().endswith("…")
    field.choose(tmp_path)
    assert field.box.lineEdit().cursorPosition() == len(str(tmp_path))
    assert field.box.line.shown_text().startswith("…")
