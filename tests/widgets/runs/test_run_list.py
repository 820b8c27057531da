"""The list of runs: newest first, with date, state, epoch, loss and a thumbnail."""

import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.runs.folder import RunFolder, RunStatus
from napari_sdmae.runs.run_list import find_runs
from napari_sdmae.widgets.runs.run_list import RunList, entry_text, run_entries, thumbnail

pytestmark = pytest.mark.gui


@pytest.fixture
def make_run(tmp_path, tissue):
    tile = np.asarray(Image.open(sorted((tissue / "tiles").rglob("*.jpg"))[0]).convert("RGB").resize((32, 32)))

    def make(name: str, started: float, state: str = "paused", *, picture: bool = True) -> Path:
        run = RunFolder(tmp_path / "runs" / name)
        run.path.mkdir(parents=True)
        run.config.write_text(PretrainConfig.from_preset("cpu-demo", data=tissue).to_yaml())
        run.write_status(RunStatus(state=state, epoch=12.0, epochs=40, loss=0.4321, started=started))
        if picture:
            run.previews_folder.mkdir()
            row = np.concatenate([tile, tile // 2, 255 - tile, tile], axis=1)
            Image.fromarray(np.concatenate([row, row])).save(run.previews_folder / "epoch-000012.png")
        return run.path

    return make


def test_runs_are_listed_newest_first_and_other_folders_are_not(make_run, tmp_path):
    make_run("old", 1000)
    make_run("new", 2000)
    (tmp_path / "runs" / "notes").mkdir()
    entries = run_entries(find_runs(tmp_path / "runs"))
    assert [entry.run.name for entry in entries] == ["new", "old"]
    assert entries[0].picture.name == "epoch-000012.png"


def test_an_entry_in_words():
    started = datetime(2026, 11, 23, 10, 31).timestamp()
    status = RunStatus(state="paused", epoch=12.0, epochs=40, loss=0.4321, started=started)
    assert entry_text("colon", status) == "colon\n2026-11-23 10:31 · paused\nepoch 12 of 40 · loss 0.4321"


def test_no_line_of_a_run_is_cut_off_in_a_narrow_dock(make_run, qtbot, tmp_path):
    make_run("2026-11-24-a-run-with-a-long-name", 1000)
    runs = RunList()
    qtbot.addWidget(runs)
    runs.resize(290, 500)
    runs.show()
    runs.show_runs(tmp_path / "runs")
    QApplication.processEvents()
    item = runs.list.item(0)
    room = runs.list.viewport().width() - 96
    lines = sum(-(-runs.list.fontMetrics().horizontalAdvance(line) // room) for line in item.text().splitlines())
    assert lines > len(item.text().splitlines())
    assert runs.list.visualItemRect(item).height() >= lines * runs.list.fontMetrics().lineSpacing()


def test_a_thumbnail_shows_what_the_model_was_given_and_what_it_made_of_it(make_run, qtbot):
    run = make_run("one", 1000)
    image = thumbnail(run / "previews" / "epoch-000012.png").pixmap(96, 48).toImage()
    given, made = image.pixelColor(24, 24), image.pixelColor(72, 24)
    sheet = np.asarray(Image.open(run / "previews" / "epoch-000012.png"))
    assert abs(given.red() - int(sheet[16, 48, 0])) < 30
    assert abs(made.red() - int(sheet[16, 80, 0])) < 30
    assert not thumbnail(None).isNull()  # so that the texts stay aligned


def test_a_run_is_opened_by_button_or_double_click(make_run, qtbot, tmp_path):
    run = make_run("one", 1000)
    make_run("without picture", 2000, picture=False)
    runs = RunList()
    qtbot.addWidget(runs)
    runs.show_runs(tmp_path / "runs")
    assert runs.list.count() == 2
    assert not runs.open.isEnabled()
    runs.list.setCurrentRow(1)
    with qtbot.waitSignal(runs.run_chosen) as chosen:
        qtbot.mouseClick(runs.open, Qt.MouseButton.LeftButton)
    assert chosen.args == [run]


def test_an_empty_or_missing_folder_says_so(qtbot, tmp_path):
    runs = RunList()
    qtbot.addWidget(runs)
    runs.show_runs(tmp_path / "away")
    assert runs.note.text() == f"No runs in {tmp_path / 'away'} yet."


def test_a_run_anywhere_can_be_chosen(qtbot, tmp_path, monkeypatch):
    runs = RunList()
    qtbot.addWidget(runs)
    monkeypatch.setattr("napari_sdmae.widgets.runs.run_list.QFileDialog.getExistingDirectory", lambda *_: str(tmp_path))
    with qtbot.waitSignal(runs.run_chosen) as chosen:
        qtbot.mouseClick(runs.other, Qt.MouseButton.LeftButton)
    assert chosen.args == [tmp_path]


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_listed(make_run, qtbot, tmp_path):
    make_run("good", 1000)
    bad = make_run("bad", 2000)
    (bad / "status.json").write_text("[" * 100_000)
    os.mkfifo(make_run("waiting", 3000) / "previews" / "epoch-000013.png")  # opened, it would hang
    runs = RunList()
    qtbot.addWidget(runs)
    runs.show_runs(tmp_path / "runs")
    assert [runs.list.item(row).text().splitlines()[0] for row in range(runs.list.count())] == ["waiting", "good"]
    assert runs.note.text().splitlines()[1] == "bad cannot be read: its JSON is nested too deeply"


def test_a_run_of_which_nobody_can_tell_has_a_question_mark():
    assert "· running?" in entry_text("far", RunStatus(state="running", host="gpu7"))
    assert "· running\n" in entry_text("near", RunStatus(state="running"))
