"""A run that trains elsewhere and fell silent: what the dock shows, asks and starts."""

import os
import platform
import sys
from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.runs.folder import RunFolder, RunStatus
from napari_sdmae.runs.status import SILENCE_S, Listener
from napari_sdmae.widgets.pretrain.dock import PretrainWidget
from napari_sdmae.widgets.runs import watcher

pytestmark = pytest.mark.gui


@pytest.fixture
def run(tissue, tmp_path) -> RunFolder:
    """A run that trains on another machine, as far as its status goes."""
    folder = RunFolder(tmp_path / "runs" / "2026-11-23-colon")
    folder.path.mkdir(parents=True)
    folder.config.write_text(PretrainConfig.from_preset("cpu-demo", data=tissue, epochs=40).to_yaml())
    folder.write_status(told())
    return folder


def told(**changes: object) -> RunStatus:
    about = {"step": 480, "total_steps": 1600, "epoch": 12.0, "epochs": 40, "loss": 0.4321, "host": "gpu7", "pid": 4711}
    return RunStatus(state="running", **about | {"boot": "another", "start": "1", "owner": 1} | changes)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The monotonic clock of the watcher."""
    now = [1000.0]
    monkeypatch.setattr(watcher, "Listener", lambda: Listener(lambda: now[0]))
    return now


@pytest.fixture
def widget(viewer, dock, clock, run) -> PretrainWidget:
    widget = PretrainWidget(viewer)
    dock(viewer, widget, "Pre-train", width=400)
    widget.attach(run.path)
    return widget


def look(widget: PretrainWidget, clock: list[float], seconds: float) -> None:
    clock[0] += seconds
    widget.watcher.look()


def visible(widget: PretrainWidget) -> set[str]:
    return {action for action, button in widget.monitor.buttons.items() if button.isVisible()}


def test_a_heart_that_beats_keeps_the_run_alive_and_a_silent_one_is_not_called_dead(widget, clock, run):
    for beat in range(3):
        run.write_status(told(beat=beat, heartbeat=1.0))  # a clock far behind
        look(widget, clock, SILENCE_S - 1)
        assert widget.monitor.headline.text() == "Training · epoch 13 of 40 on gpu7"
        assert visible(widget) == {"stop", "pause", "cancel"}
    look(widget, clock, SILENCE_S + 1)
    assert widget.monitor.headline.text() == "No update from gpu7"
    assert visible(widget) == {"stop", "pause", "take_over"}
    run.write_status(told(beat=3, heartbeat=1.0))
    look(widget, clock, 1)
    assert visible(widget) == {"stop", "pause", "cancel"}


def test_taking_over_asks_first(widget, clock, run, monkeypatch):
    look(widget, clock, SILENCE_S + 1)
    started, answers = [], [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answers.pop(0))
    monkeypatch.setattr(widget.watcher, "start", lambda *words: started.append(words))
    for _ in range(2):
        widget.monitor.buttons["take_over"].click()
    assert not answers
    assert started == [([sys.executable, "-m", "napari_sdmae", "resume", str(run.path), "--take-over"], run.path)]


def test_napari_stays_open_when_the_run_cannot_be_told_to_stop(widget, clock, run, monkeypatch):
    run.write_status(told(host=platform.node()))
    look(widget, clock, 1)
    monkeypatch.setattr(type(widget.watcher), "live", True)
    monkeypatch.setattr("napari_sdmae.widgets.runs.dock.ask_before_closing", lambda *_: "stop")
    run.control.mkdir()
    widget.tabs.setCurrentIndex(0)
    assert not widget.may_close()
    assert "control is a folder" in widget.monitor.error.text()
    assert widget.tabs.currentIndex() == 1, "where the reason is"


def test_a_control_that_is_a_folder_is_said_and_hangs_nothing(widget, run, qtbot):
    os.mkfifo(run.metrics_file)
    run.control.mkdir()
    widget.watcher.look()
    qtbot.mouseClick(widget.monitor.buttons["pause"], Qt.MouseButton.LeftButton)
    assert "control is a folder" in widget.monitor.error.text()


def test_a_run_that_cannot_be_read_is_said_and_the_next_viewer_opens(widget, run, viewer, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(QMessageBox, "information", lambda *words: said.append(words[-1]))
    run.status_file.write_text("{")
    widget.watcher.look()
    assert "status.json cannot be read" in widget.monitor.error.text()
    assert isinstance(PretrainWidget(viewer), PretrainWidget)
    widget.attach(run.path)
    assert "status.json cannot be read" in said[0]
    assert Path(run.path).is_dir()
