"""The Fine-tune widget in a real viewer, driving the real job on real tissue."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from napari.layers import Image, Labels, Shapes
from PIL import Image as Pillow
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QApplication, QLabel, QMessageBox

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.widgets.base.collapsible import CollapsibleSection
from napari_sdmae.widgets.finetune.dock import FinetuneWidget
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.pretrain.dock import PretrainWidget
from napari_sdmae.widgets.segment.dock import SegmentWidget
from napari_sdmae.widgets.worker_client import QueryWorker
from napari_sdmae.worker.protocol import DevicesRequest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(240)]
SECONDS = 1000
FOREVER = 5000  # epochs; such a run is ended by the test
SMALL = {
    "batch_size": 8,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "preview_tiles": 2,
    "log_every": 1,
    "encoder": {"architecture": "vit_tiny_patch16_224", "tile_size": 64, "width": 48, "depth": 2, "heads": 3},
    "head": {"decoder": "linear", "width": 16},
}


@pytest.fixture(scope="module")
def worker(qapp):
    """One worker for all tests; a user that stays keeps its child, which would end with each test's widget."""
    worker, stays = QueryWorker(), QObject()
    worker.submit(DevicesRequest(), lambda _: None, lambda _: None, user=stays)
    yield worker
    worker.release()


@pytest.fixture(scope="module")
def organs(tissue, tmp_path_factory) -> Path:
    """Real tiles of two organs, a folder for each."""
    folder = tmp_path_factory.mktemp("organs & more")
    for organ in sorted((tissue / "tiles").iterdir())[:2]:
        (folder / organ.name).mkdir()
        for file in sorted(organ.glob("*.jpg"))[:8]:
            shutil.copy(file, folder / organ.name)
    (folder / organ.name / "broken.jpg").write_bytes(b"no picture")
    return folder


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
    """Open the widget in the viewer, with small and quick settings from scratch on the processor."""

    def make(task: str = "segmentation", epochs: int = FOREVER, **changes) -> FinetuneWidget:
        widget = FinetuneWidget(viewer, worker)
        dock(viewer, widget, "Fine-tune", width=400)
        if not widget.watcher.live:
            widget.new_run.output.set(root)
            settings = {"task": task, "data": ".", "epochs": epochs} | SMALL | changes
            widget.new_run.show_settings(FinetuneConfig.model_validate(settings))
        return widget

    return make


def press_start(widget, qtbot) -> None:
    qtbot.waitUntil(widget.new_run.start_button.isEnabled, timeout=120 * SECONDS)
    qtbot.mouseClick(widget.new_run.start_button, Qt.MouseButton.LeftButton)


def wait_for(widget, headline, qtbot):
    def there() -> bool:
        assert headline == "Failed" or not widget.watcher.view.failed, widget.watcher.log()
        return widget.monitor.headline.text().startswith(headline)

    qtbot.waitUntil(there, timeout=150 * SECONDS)


def press(widget, action, qtbot):
    qtbot.mouseClick(widget.monitor.buttons[action], Qt.MouseButton.LeftButton)


def paint(viewer, tissue) -> tuple[Image, Labels]:
    """Open a region and paint two classes over it."""
    region = np.asarray(Pillow.open(tissue / "regions" / "skin_morphea.jpg").convert("RGB"))[:400, :400]
    image = viewer.add_image(region, name="morphea", scale=(0.5, 0.5), units=("um", "um"))
    strokes = np.zeros((400, 400), np.uint8)
    for top in (20, 220):
        strokes[top : top + 70, 20:380], strokes[top + 90 : top + 160, 20:380] = 1, 2
    labels = viewer.add_labels(strokes, name="strokes", scale=(0.5, 0.5), units=("um", "um"))
    viewer.layers.selection = {labels}
    return image, labels


def test_what_is_painted_is_written_learned_shown_and_reported(open_widget, tissue, viewer, root, qtbot):
    widget = open_widget(epochs=3)
    page, monitor = widget.new_run, widget.monitor
    assert page.reason.text() == "Choose a folder or table of labelled images."
    qtbot.mouseClick(page.source.from_layers, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(page.source.take_button, Qt.MouseButton.LeftButton)
    assert page.source.note.text().startswith("No Labels layer is selected")
    paint(viewer, tissue)
    page.source.names.set("epidermis, dermis")
    qtbot.mouseClick(page.source.take_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(page.start_button.isEnabled, timeout=120 * SECONDS)
    assert page.config.data == root / "strokes-sources"
    assert sorted(path.name for path in page.config.data.iterdir()) == ["classes.json", "images", "masks", "table.csv"]
    assert "epidermis, dermis" in page.source.note.text()
    assert page.preflight.found.train > 0
    assert page.preflight.numbers.isVisible()
    rows = [page.preflight.numbers.verticalHeaderItem(row).text() for row in range(page.preflight.numbers.rowCount())]
    assert rows == ["epidermis", "dermis"]
    assert "figures do not predict results on other slides" in page.preflight.warning.text()

    wanted, shown = page.config, page.command.text.toPlainText()
    press_start(widget, qtbot)
    qtbot.waitUntil(lambda: widget.watcher.view.progress is not None, timeout=120 * SECONDS)
    assert monitor.command.text.toPlainText() == shown
    wait_for(widget, "Finished", qtbot)
    folder = widget.watcher.folder
    assert folder.read_config() == wanted
    assert shlex.split(shown)[3:5] == ["finetune", "--task"]

    qtbot.waitUntil(lambda: monitor.report is not None, timeout=20 * SECONDS)
    assert "selected by mIoU" in monitor.result.text()
    assert "validation image" in monitor.result.text()
    assert "Tested once on" in monitor.result.text()
    assert monitor.numbers.isVisible()
    assert monitor.numbers.verticalHeaderItem(0).text() == "epidermis"
    assert monitor.confusion.isVisible()
    assert len(monitor.confusion.axes.texts) == 4
    qtbot.waitUntil(lambda: len(monitor.plot.lines["validation"][1].get_xdata()) == 3, timeout=20 * SECONDS)
    assert len(monitor.plot.star.get_xdata()) == 1
    assert "mIoU" in monitor.plot.legend.get_texts()[1].get_text()

    layers = {layer.name.split(" · ")[1]: layer for layer in viewer.layers if " · " in layer.name}
    assert set(layers) == {"input", "truth", "prediction"}
    assert isinstance(layers["truth"], Labels)
    assert set(np.unique(layers["truth"].data)) <= {0, 1, 2, 255}
    assert set(np.unique(layers["prediction"].data)) <= {0, 1, 2}
    classes = (folder.model / "config.json").read_text()
    assert "epidermis" in classes
    np.testing.assert_allclose(layers["prediction"].colormap.color_dict[1][:3] * 255, (230, 75, 53), atol=1)
    before = list(viewer.layers)

    widget.attach(folder.path)  # the same layers are used again
    assert list(viewer.layers) == before
    segment_with_the_head(widget, viewer, qtbot)


def segment_with_the_head(finetune, viewer, qtbot) -> None:
    """Open the head of the run in Segment, and segment the picture that was painted on."""
    qtbot.mouseClick(finetune.monitor.segment, Qt.MouseButton.LeftButton)
    (segment,) = viewer.window._qt_window.findChildren(SegmentWidget)
    assert segment.parent().windowTitle().startswith("Segment")
    assert segment.controls.head.model == str(finetune.watcher.folder.path)
    assert segment.controls.head.problem == ""
    assert "epidermis" in segment.controls.head.classes.text()
    segment.controls.image.choose(viewer.layers["morphea"])
    qtbot.mouseClick(segment.controls.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(segment.controls.cancel.isHidden, timeout=120 * SECONDS)
    assert segment.controls.failure.failure is None
    labels = segment.desk.labels.layer
    assert labels.name == "morphea · labels"
    assert labels.data.shape == (400, 400)
    assert [one["name"] for one in labels.metadata["sdmae"]["classes"]] == ["epidermis", "dermis"]
    assert labels.metadata["sdmae"]["head"] == str(finetune.watcher.folder.model)


def test_the_life_of_a_run_on_a_folder_per_class(open_widget, organs, viewer, qtbot):
    """Look, start, watch, pause, resume, close the widget, find the run again, stop and keep."""
    widget = open_widget("classification", labels={"validation": 0.3, "test": 0.3}, head={"classifier": "mean"})
    page = widget.new_run
    page.source.folder.set(organs)
    qtbot.waitUntil(page.start_button.isEnabled, timeout=120 * SECONDS)
    assert page.preflight.found.unusable == 1
    assert page.preflight.unusable[0][0].endswith("broken.jpg")
    assert page.preflight.list_button.isVisible()
    assert "lide IDs are missing" in page.preflight.warning.text()
    press_start(widget, qtbot)
    wait_for(widget, "Training · epoch", qtbot)
    folder = widget.watcher.folder
    tiles = lambda: [layer for layer in viewer.layers if isinstance(layer, Shapes)]  # noqa: E731
    qtbot.waitUntil(lambda: bool(tiles()), timeout=120 * SECONDS)
    names = {organ.name for organ in organs.iterdir()}
    qtbot.waitUntil(lambda: {word.split("\n")[0] for word in tiles()[0].features["said"]} <= names, timeout=120 * SECONDS)
    qtbot.waitUntil(lambda: "images/s" in widget.monitor.details.text(), timeout=120 * SECONDS)
    qtbot.waitUntil(widget.monitor.numbers.isVisible, timeout=120 * SECONDS)
    assert not page.start_button.isEnabled()

    press(widget, "pause", qtbot)
    wait_for(widget, "Paused", qtbot)
    step = folder.status().step
    press(widget, "resume", qtbot)
    wait_for(widget, "Training", qtbot)
    qtbot.waitUntil(lambda: folder.status().step > step, timeout=120 * SECONDS)

    viewer.window.remove_dock_widget(widget.parent())
    again = open_widget("classification")
    assert again.monitor.name.text() == folder.path.name
    wait_for(again, "Training", qtbot)
    press(again, "stop", qtbot)
    wait_for(again, "Stopped", qtbot)
    qtbot.waitUntil(lambda: again.monitor.report is not None, timeout=20 * SECONDS)
    assert "selected by balanced accuracy" in again.monitor.result.text()
    assert "Not tested: the run ended before its last epoch." in again.monitor.result.text()
    assert again.monitor.segment.isVisible()
    assert again.monitor.buttons["resume"].isVisible()
    again.tabs.setCurrentIndex(2)
    assert again.runs.list.item(0).text().startswith(folder.path.name)
    assert "best balanced accuracy" in again.runs.list.item(0).text()


def test_a_job_that_fails_says_why_in_one_line_and_all_in_the_log(open_widget, organs, tmp_path, qtbot):
    gone = shutil.copytree(organs, tmp_path / "gone")
    widget = open_widget("classification", head={"classifier": "mean"})
    widget.new_run.source.folder.set(gone)
    qtbot.waitUntil(widget.new_run.start_button.isEnabled, timeout=120 * SECONDS)
    for file in gone.rglob("*.jpg"):
        file.write_bytes(b"no picture any more")
    press_start(widget, qtbot)
    wait_for(widget, "Failed", qtbot)
    assert widget.monitor.error.isVisible()
    assert "\n" not in widget.monitor.error.text()
    assert "cannot be used" in widget.monitor.error.text()
    assert not widget.monitor.segment.isVisible()
    dialog = widget.show_log()
    assert widget.monitor.error.text()[:20] in dialog.text.toPlainText()
    dialog.close()


def test_data_that_cannot_be_learned_is_refused_before_the_start_in_words(open_widget, organs, tmp_path, qtbot):
    page = open_widget("segmentation").new_run
    page.source.folder.set(tmp_path / "away")
    assert page.reason.text() == f"{tmp_path / 'away'} does not exist. Choose another."
    page.source.folder.set(organs)
    assert page.reason.text() == "Checking the labelled images…"
    qtbot.waitUntil(lambda: "expected folders images and masks" in page.reason.text(), timeout=120 * SECONDS)
    assert not page.start_button.isEnabled()
    page.choose_task("classification")
    qtbot.waitUntil(page.start_button.isEnabled, timeout=120 * SECONDS)


def test_boxes_drawn_in_the_viewer_become_a_coco_file(open_widget, tissue, viewer, root, qtbot):
    page = open_widget("detection").new_run
    image, labels = paint(viewer, tissue)
    viewer.layers.remove(labels)
    squares = [np.array([[y, x], [y, x + 10], [y + 10, x + 10], [y + 10, x]]) for y in (20, 80, 140) for x in (20, 80, 140)]
    shapes = viewer.add_shapes(squares, name="vessel")
    viewer.layers.selection = {image, shapes}
    qtbot.mouseClick(page.source.from_layers, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(page.source.take_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.preflight.found is not None, timeout=120 * SECONDS)
    assert page.source.path.name == "annotations.json"
    assert "9 boxes" in page.source.note.text()
    assert page.preflight.numbers.verticalHeaderItem(0).text() == "vessel"


def test_labels_of_other_widgets_are_taken_with_task_model_and_value(open_widget, tmp_path, model_folder):
    widget = open_widget("classification")
    widget.tabs.setCurrentIndex(2)
    widget.take_labels(tmp_path, "segmentation", str(model_folder), 254)
    page = widget.new_run
    assert widget.tabs.currentIndex() == 0
    assert (page.config.task, page.config.data, page.config.model) == ("segmentation", tmp_path, str(model_folder))
    assert page.config.labels.ignore_value == 254
    widget.take_labels(tmp_path)
    assert (page.config.model, page.config.labels.ignore_value) == (str(model_folder), 254)


def test_a_run_of_the_other_kind_is_refused_in_words(open_widget, tmp_path, monkeypatch, viewer, worker):
    from napari_sdmae.config.pretrain import PretrainConfig
    from napari_sdmae.runs.folder import RunStatus

    run = RunFolder(tmp_path / "other")
    run.path.mkdir()
    run.config.write_text(PretrainConfig.from_preset("cpu-demo", data=tmp_path).to_yaml())
    run.write_status(RunStatus(state="paused"))
    said = []
    monkeypatch.setattr(QMessageBox, "information", lambda *words: said.append(words[-1]))
    widget = open_widget()
    widget.attach(run.path)
    assert said == ["other is a run of pre-training. Open it in the dock widget Pre-train."]
    assert widget.watcher.folder is None
    widget.runs.show_runs(tmp_path)
    assert widget.runs.list.count() == 0
    other = PretrainWidget(viewer, worker)
    other.runs.show_runs(tmp_path)
    assert other.runs.list.count() == 1
    other.deleteLater()


def shown_labels(widget: FinetuneWidget) -> list[QLabel]:
    return [label for label in widget.new_run.findChildren(QLabel) if label.isVisible() and label.text()]


def squeezed(widget: FinetuneWidget) -> list[str]:
    """Return the texts that need more lines than they have."""
    labels = [label for label in shown_labels(widget) if label.wordWrap()]
    return [label.text() for label in labels if label.height() < label.heightForWidth(label.width())]


def test_every_page_fits_300_px_and_no_label_is_cut_off(open_widget, viewer, qtbot):
    widget = open_widget()
    viewer.window._qt_window.resizeDocks([widget.parent()], [300], Qt.Orientation.Horizontal)
    for fold in widget.findChildren(CollapsibleSection):
        fold.heading.setChecked(True)
    qtbot.wait(200)
    for task in ("segmentation", "instances", "classification", "detection"):
        widget.new_run.choose_task(task)
        qtbot.waitUntil(lambda: not squeezed(widget), timeout=10_000)  # a busy machine lays out late
        labels = shown_labels(widget)
        assert len(labels) > 30
        for label in labels:
            longest = max(label.text().replace("-", "- ").split(), key=len)
            assert label.fontMetrics().horizontalAdvance(longest) <= label.width() or "/" in longest, label.text()
        for choice in (choice for choice in widget.new_run.findChildren(Choice) if choice.isVisible()):
            longest = max((choice.itemText(index) for index in range(choice.count())), key=len)
            assert choice.fontMetrics().horizontalAdvance(longest) + 36 <= choice.width(), longest
    for index in range(widget.tabs.count()):
        widget.tabs.setCurrentIndex(index)
        QApplication.processEvents()
        for area in widget.tabs.currentWidget().findChildren(type(widget.tabs.widget(1))) or [widget.tabs.currentWidget()]:
            assert area.widget().minimumSizeHint().width() <= area.viewport().width()
