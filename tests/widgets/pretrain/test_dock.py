"""The Pre-train widget in a real viewer, driving the real job on real tissue."""

import shlex
import shutil
import subprocess
import sys
from itertools import chain, islice
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image
from qtpy.QtCore import QObject, QPoint, Qt
from qtpy.QtWidgets import QApplication, QLabel, QMessageBox

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.widgets.base.collapsible import CollapsibleSection
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.pretrain.dock import PretrainWidget
from napari_sdmae.widgets.worker_client import QueryWorker
from napari_sdmae.worker.protocol import DevicesRequest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(240)]
SECONDS = 1000
FOREVER = 5000  # epochs; such a run is ended by the test
SMALL = {
    "batch_size": 64,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "preview_tiles": 3,
    "log_every": 1,
    "model": {"encoder_depth": 1, "decoder_depth": 1, "head_outputs": 64},
}


@pytest.fixture(scope="module")
def images(tissue, tmp_path_factory) -> Path:
    """A folder with 10 real tiles and one file that is none."""
    folder = tmp_path_factory.mktemp("tissue & more")
    organs = [sorted(organ.glob("*.jpg"))[:2] for organ in sorted((tissue / "tiles").iterdir())]
    for file in islice(chain(*organs), 10):
        shutil.copy(file, folder / f"{file.parent.name}-{file.name}")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def worker(qapp):
    """One worker for all tests; a user that stays keeps its child, which would end with each test's widget."""
    worker, stays = QueryWorker(), QObject()
    worker.submit(DevicesRequest(), lambda _: None, lambda _: None, user=stays)
    yield worker
    worker.release()


@pytest.fixture
def root(tmp_path):
    """The folder of runs; no job in it outlives the test."""
    folder = tmp_path / "runs"
    yield folder
    for run in folder.glob("*/status.json") if folder.exists() else ():
        status = RunFolder(run.parent).status()
        if status is not None and status.state in ("preparing", "running"):
            psutil.Process(status.pid).kill()


@pytest.fixture
def open_widget(viewer, dock, worker, root, fresh_memory):
    """Open the widget in the viewer, with small and quick settings on the processor."""

    def make(epochs: int = FOREVER) -> PretrainWidget:
        widget = PretrainWidget(viewer, worker)
        dock(viewer, widget, "Pre-train", width=400)
        if not widget.watcher.live:
            widget.new_run.output.set(root)
            widget.new_run.show_settings(PretrainConfig.from_preset("cpu-demo", data=".", epochs=epochs, **SMALL), "cpu-demo")
        return widget

    return make


def choose(widget, images, qtbot):
    """Choose the folder and wait until Start may be pressed."""
    widget.new_run.source.folder.set(images)
    qtbot.waitUntil(widget.new_run.start_button.isEnabled, timeout=120 * SECONDS)


def start(widget, images, qtbot) -> RunFolder:
    """Start a run and wait until it trains."""
    choose(widget, images, qtbot)
    qtbot.mouseClick(widget.new_run.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.watcher.view.headline.startswith("Training"), timeout=150 * SECONDS)
    return widget.watcher.folder


def wait_for(widget, headline, qtbot):
    qtbot.waitUntil(lambda: widget.monitor.headline.text().startswith(headline), timeout=150 * SECONDS)


def press(widget, action, qtbot):
    qtbot.mouseClick(widget.monitor.buttons[action], Qt.MouseButton.LeftButton)


def test_a_new_widget_says_what_is_missing_and_imports_no_torch(open_widget):
    widget = open_widget()
    page = widget.new_run
    assert not page.start_button.isEnabled()
    assert page.reason.isVisible()
    assert page.reason.text() == "Choose a folder of images."
    assert not {"torch", "timm", "torchvision"} & set(sys.modules)


def test_every_page_fits_a_dock_of_300_px_and_start_stays_in_view(open_widget, viewer, qtbot):
    widget = open_widget()
    viewer.window._qt_window.resize(1280, 800)
    viewer.window._qt_window.resizeDocks([widget.parent()], [300], Qt.Orientation.Horizontal)
    for fold in widget.findChildren(CollapsibleSection):
        fold.heading.setChecked(True)
    QApplication.processEvents()
    qtbot.wait(100)
    for index in range(widget.tabs.count()):
        widget.tabs.setCurrentIndex(index)
        QApplication.processEvents()
        for area in widget.tabs.currentWidget().findChildren(type(widget.tabs.widget(1))) or [widget.tabs.currentWidget()]:
            assert area.widget().minimumSizeHint().width() <= area.viewport().width()
    widget.tabs.setCurrentIndex(0)
    corner = widget.new_run.start_button.mapTo(viewer.window._qt_window, QPoint(0, widget.new_run.start_button.height()))
    assert corner.y() < viewer.window._qt_window.height()


def test_no_label_of_the_form_is_cut_off_in_a_narrow_dock(open_widget, viewer, qtbot):
    widget = open_widget()
    viewer.window._qt_window.resizeDocks([widget.parent()], [300], Qt.Orientation.Horizontal)
    for fold in widget.findChildren(CollapsibleSection):
        fold.heading.setChecked(True)
    qtbot.wait(200)
    labels = [label for label in widget.new_run.form.findChildren(QLabel) if label.isVisible()]
    assert len(labels) > 50
    for label in labels:
        assert label.height() >= label.heightForWidth(label.width()), label.text()
        longest = max(label.text().replace("-", "- ").split(), key=len)
        assert label.fontMetrics().horizontalAdvance(longest) <= label.width(), label.text()
    for choice in widget.new_run.form.findChildren(Choice):
        longest = max((choice.itemText(index) for index in range(choice.count())), key=len)
        assert choice.fontMetrics().horizontalAdvance(longest) + 36 <= choice.width(), longest


def test_the_look_before_training_finds_counts_and_draws(open_widget, images, qtbot):
    page = open_widget().new_run
    page.source.folder.set(images)
    assert page.reason.text() == "Checking the images…"
    qtbot.waitUntil(page.start_button.isEnabled, timeout=120 * SECONDS)
    assert (page.preflight.found.images, page.preflight.found.unusable) == (10, 1)
    assert page.preflight.found.tiles > 64
    assert page.preflight.summary.isVisible()
    qtbot.waitUntil(lambda: page.preflight.memory_note.isVisible(), timeout=60000)
    assert page.preflight.memory_note.text().startswith("Training needs about ")
    assert page.preflight.unusable[0][0].endswith("broken.jpg")
    assert page.preflight.list_button.isVisible()
    qtbot.mouseClick(page.preflight.sheet_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not page.preflight.sheet.empty, timeout=120 * SECONDS)
    assert page.preflight.sheet.isVisible()
    page.form.editors["tiles.max_unusable"].set(0.05)
    qtbot.waitUntil(lambda: "cannot be used" in page.reason.text(), timeout=120 * SECONDS)
    assert not page.start_button.isEnabled()


def test_wrong_settings_are_said_by_name(open_widget, images, qtbot):
    page = open_widget().new_run
    choose(page.window().findChild(PretrainWidget), images, qtbot)
    page.form.editors["model.tile_size"].set(100)
    assert "tile size 100 px is not a multiple of the patch size 8 px" in page.reason.text()
    assert not page.start_button.isEnabled()


def test_the_life_of_a_run(open_widget, images, viewer, root, qtbot, monkeypatch):
    """Start, watch, pause, resume, cancel."""
    widget = open_widget()
    choose(widget, images, qtbot)
    wanted, shown = widget.new_run.config, widget.new_run.command.text.toPlainText()
    qtbot.mouseClick(widget.new_run.start_button, Qt.MouseButton.LeftButton)
    assert widget.monitor.headline.text() == "Starting"
    assert widget.tabs.currentIndex() == 1
    wait_for(widget, "Training · epoch", qtbot)
    folder = widget.watcher.folder
    assert folder.path.parent == root
    assert folder.read_config() == wanted
    assert widget.monitor.command.text.toPlainText() == shown
    assert shlex.split(shown)[1:] == psutil.Process(folder.status().pid).cmdline()[1:]

    qtbot.waitUntil(lambda: len(viewer.layers) == 4 and not widget.monitor.plot.isHidden(), timeout=120 * SECONDS)
    before = viewer.layers[2].data.copy()
    qtbot.waitUntil(lambda: bool((viewer.layers[2].data != before).any()), timeout=120 * SECONDS)
    qtbot.waitUntil(lambda: len(widget.monitor.plot.lines["total"][1].get_xdata()) > 1, timeout=120 * SECONDS)
    qtbot.waitUntil(lambda: "images/s" in widget.monitor.details.text(), timeout=120 * SECONDS)
    assert "left" in widget.monitor.details.text()
    assert "memory" in widget.monitor.details.text()
    assert not widget.new_run.start_button.isEnabled()

    press(widget, "pause", qtbot)
    assert widget.monitor.headline.text().startswith("Pausing")
    wait_for(widget, "Paused", qtbot)
    step = folder.status().step
    assert folder.checkpoints()
    press(widget, "resume", qtbot)
    assert widget.monitor.headline.text() == "Starting again"
    wait_for(widget, "Training", qtbot)
    qtbot.waitUntil(lambda: folder.status().step > step, timeout=120 * SECONDS)
    assert len(viewer.layers) == 4

    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answers.pop(0))
    press(widget, "cancel", qtbot)
    assert folder.asked() is None
    press(widget, "cancel", qtbot)
    wait_for(widget, "Cancelled", qtbot)
    assert widget.runs.list.item(0).text().startswith(folder.path.name)
    qtbot.waitUntil(widget.new_run.start_button.isEnabled, timeout=60 * SECONDS)
    assert widget.new_run.run_folder() != folder.path  # nothing is overwritten


def test_a_run_ends_and_a_new_widget_shows_it_again(open_widget, images, viewer, qtbot):
    widget = open_widget(epochs=2)
    choose(widget, images, qtbot)
    qtbot.mouseClick(widget.new_run.start_button, Qt.MouseButton.LeftButton)
    wait_for(widget, "Finished", qtbot)
    assert not any(button.isVisible() for button in widget.monitor.buttons.values())
    run = widget.watcher.folder.path
    viewer.window.remove_dock_widget(widget.parent())
    again = open_widget()
    assert again.monitor.name.text() == run.name
    assert again.monitor.headline.text().startswith("Finished")
    assert again.new_run.source.folder.get() is None or again.new_run.config.data == images


def test_a_run_can_be_cancelled_before_it_says_a_word(open_widget, images, qtbot, monkeypatch):
    widget = open_widget()
    choose(widget, images, qtbot)
    qtbot.mouseClick(widget.new_run.start_button, Qt.MouseButton.LeftButton)
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    press(widget, "cancel", qtbot)
    wait_for(widget, "Cancelled before it started", qtbot)
    assert not widget.monitor.error.isVisible()


def test_a_run_survives_the_viewer_is_found_again_and_its_death_is_seen(
    open_widget, images, viewer, make_viewer, worker, qtbot, monkeypatch
):
    widget = open_widget()
    folder = start(widget, images, qtbot)
    window, answers = viewer.window._qt_window, ["stay", "run"]
    monkeypatch.setattr("napari_sdmae.widgets.runs.dock.ask_before_closing", lambda *_: answers.pop(0))
    assert not window.close()
    assert window.isVisible()
    viewer.close()
    assert answers == []
    step = folder.status().step
    qtbot.waitUntil(lambda: folder.status().step > step, timeout=120 * SECONDS)  # it goes on without a viewer

    again = make_viewer()
    widget = PretrainWidget(again, worker)
    again.window.add_dock_widget(widget)
    assert widget.monitor.name.text() == folder.path.name
    assert widget.tabs.currentIndex() == 1
    wait_for(widget, "Training", qtbot)
    qtbot.waitUntil(lambda: len(again.layers) == 4, timeout=120 * SECONDS)
    psutil.Process(folder.status().pid).kill()
    wait_for(widget, "Interrupted", qtbot)
    assert widget.monitor.error.isVisible()
    assert widget.monitor.buttons["resume"].isVisible()


def test_closing_napari_may_stop_the_run_and_keep_its_model(open_widget, images, viewer, qtbot, monkeypatch):
    folder = start(open_widget(), images, qtbot)
    monkeypatch.setattr("napari_sdmae.widgets.runs.dock.ask_before_closing", lambda *_: "stop")
    viewer.close()
    qtbot.waitUntil(lambda: folder.status().state == "stopped", timeout=120 * SECONDS)
    assert (folder.model / "model.safetensors").is_file()


def test_a_job_that_cannot_start_says_why_on_one_line_and_all_in_the_log(open_widget, images, tmp_path, qtbot):
    gone = shutil.copytree(images, tmp_path / "gone")
    widget = open_widget()
    choose(widget, gone, qtbot)
    for file in gone.iterdir():
        file.write_bytes(b"no picture any more")
    qtbot.mouseClick(widget.new_run.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.watcher.view.failed, timeout=150 * SECONDS)
    assert widget.monitor.error.isVisible()
    assert "\n" not in widget.monitor.error.text()
    assert len(widget.monitor.error.text()) > 20
    dialog = widget.show_log()
    assert widget.monitor.error.text()[:20] in dialog.text.toPlainText()
    dialog.close()


def test_layers_of_the_viewer_are_a_source_that_the_command_line_can_use(open_widget, tissue, viewer, root, qtbot):
    widget = open_widget()
    region = Image.open(tissue / "regions" / "skin_morphea.jpg").convert("RGB").crop((0, 0, 512, 512))
    page = widget.new_run
    qtbot.mouseClick(page.source.from_layers, Qt.MouseButton.LeftButton)
    assert "Use the selected layers" in page.reason.text()
    qtbot.mouseClick(page.source.take_button, Qt.MouseButton.LeftButton)
    assert page.source.note.text().startswith("No image layer is selected")
    viewer.add_image(np.asarray(region), name="morphea", scale=(0.5, 0.5), units=("um", "um"))
    qtbot.mouseClick(page.source.take_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(page.start_button.isEnabled, timeout=120 * SECONDS)
    assert page.config.data == root / "morphea-sources"
    assert page.run_folder().name.endswith("-morphea")
    assert widget.layers_folder("skin/morphea") == root / "skin-morphea-sources"
    assert f"--data {root / 'morphea-sources'}" in page.command.text.toPlainText()
    command = [sys.executable, "-m", "napari_sdmae", "inspect", str(page.config.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_settings_are_loaded_and_saved_and_a_wrong_file_changes_nothing(open_widget, tmp_path, monkeypatch, qtbot):
    page = open_widget().new_run
    page.form.editors["optimizer.base_lr"].set(1.7e-5)
    dialogs = "napari_sdmae.widgets.runs.new_run_page.QFileDialog"
    monkeypatch.setattr(f"{dialogs}.getSaveFileName", lambda *_: (str(tmp_path / "s.yaml"), ""))
    qtbot.mouseClick(page.save_button, Qt.MouseButton.LeftButton)
    assert yaml.safe_load((tmp_path / "s.yaml").read_text())["optimizer"]["base_lr"] == 1.7e-5
    before = page.config
    page.form.editors["epochs"].set(9)
    monkeypatch.setattr(f"{dialogs}.getOpenFileName", lambda *_: (str(tmp_path / "s.yaml"), ""))
    qtbot.mouseClick(page.load_button, Qt.MouseButton.LeftButton)
    assert page.config == before
    (tmp_path / "s.yaml").write_text("epochs: 3\nlearning_rate: 1\n")
    qtbot.mouseClick(page.load_button, Qt.MouseButton.LeftButton)
    assert page.failure.isVisible()
    assert "learning_rate: there is no such setting" in page.failure.text()
    assert page.config == before


def test_a_folder_that_is_no_run_is_refused_in_words(open_widget, tmp_path, monkeypatch):
    widget = open_widget()
    said = []
    monkeypatch.setattr(QMessageBox, "information", lambda *words: said.append(words[-1]))
    widget.attach(tmp_path)
    assert "holds no run" in said[0]
    assert widget.watcher.folder is None
