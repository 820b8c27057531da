import errno
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.io.processes import start_token
from napari_sdmae.runs.folder import MetricsReader, RunFolder, RunFolderError, RunStatus, is_alive
from napari_sdmae.runs.run_list import list_runs


@pytest.fixture
def config(tmp_path: Path) -> PretrainConfig:
    return PretrainConfig(data=tmp_path)


@pytest.fixture
def run(tmp_path: Path, config: PretrainConfig) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.claim(config, resume=False)
    return folder


def finished(run: RunFolder) -> None:
    run.write_status(RunStatus(state="finished", step=7, started=5.0))


def test_status_survives_the_disk(run):
    status = RunStatus(state="running", step=3, total_steps=9, warnings=("careful",), eta_s=1.5, loss=0.25)
    run.write_status(status)
    assert run.status() == status


def test_a_status_is_never_seen_half_written(run):
    code = (
        f"from napari_sdmae.runs.folder import *\nrun = RunFolder({str(run.path)!r})\n"
        "import itertools\n"
        "for step in itertools.count(): run.write_status(RunStatus(state='running', step=step, message='x' * 5000))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code])
    try:
        seen: set[int] = set()
        while len(seen) < 100:
            assert writer.poll() is None
            seen.add(json.loads(run.status_file.read_bytes())["step"])
    finally:
        writer.kill()
        writer.wait()


def test_a_status_that_cannot_be_replaced_is_written_over(run, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    run.write_status(RunStatus(state="running", message="long " * 100))
    monkeypatch.setattr("napari_sdmae.runs.folder.write_atomically", full)
    run.write_status(RunStatus(state="failed", message="full"))
    assert (run.status().state, run.status().message) == ("failed", "full")
    run.status_file.unlink()
    with pytest.raises(OSError, match="No space"):  # and not that there is no file to write over
        run.write_status(RunStatus(state="failed"))


def test_this_process_is_alive_and_an_ended_one_is_not(run):
    assert is_alive(RunStatus(state="running"))
    assert not is_alive(RunStatus(state="finished"))
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not is_alive(RunStatus(state="running", pid=child.pid))


def test_a_process_id_used_again_by_another_process_is_not_alive():
    assert is_alive(RunStatus(state="running", start="1")) is False


def test_whether_a_job_on_another_host_lives_cannot_be_told_whatever_the_clock():
    for heartbeat in (time.time(), time.time() - 3600):
        assert is_alive(RunStatus(state="running", host="elsewhere", pid=1, heartbeat=heartbeat)) is None
    assert is_alive(RunStatus(state="paused", host="elsewhere")) is False


def test_a_run_whose_job_died_is_interrupted(run):
    run.write_status(RunStatus(state="running", start="1"))
    assert run.status().state == "interrupted"


def test_nothing_is_overwritten(tmp_path, config, run):
    with pytest.raises(RunFolderError, match="sdmae resume"):
        RunFolder(run.path).claim(config, resume=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="another --output"):
        RunFolder(tmp_path / "other").claim(config, resume=False)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("state", ["failed", "stopped", "cancelled"])
def test_a_run_that_saved_nothing_gives_its_name_to_a_new_one(run, config, state):
    run.write_status(RunStatus(state=state, step=2, started=5.0, warnings=("careful",)))
    run.append_metrics({"kind": "step", "step": 2})
    (run.path / "notes.txt").write_text("mine")
    new = config.model_copy(update={"epochs": 7})
    status = run.claim(new, resume=False)
    assert (status.state, status.step, status.warnings, run.metrics()) == ("preparing", 0, (), [])
    assert run.read_config() == new
    assert (run.path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("kept", ["checkpoints/step-000003", "checkpoints/step-000003.damaged", "model"])
def test_a_failed_run_that_saved_something_is_not_replaced(run, config, kept):
    run.write_status(RunStatus(state="failed", step=4))
    (run.path / kept).mkdir(parents=True)
    with pytest.raises(RunFolderError, match="sdmae resume"):
        run.claim(config.model_copy(update={"epochs": 7}), resume=False)
    assert run.read_config() == config


@pytest.mark.parametrize("file", ["config.yaml", "status.json"])
def test_a_folder_in_which_a_run_could_not_begin_is_free_again(tmp_path, config, monkeypatch, file):
    def full(path, *arguments, **options):
        """Write the settings, whose folder then cannot be flushed; of the status nothing."""
        if path.name != "status.json":
            write_atomically(path, *arguments, **options)
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("napari_sdmae.runs.folder.write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        RunFolder(tmp_path / "run").claim(config, resume=False)
    monkeypatch.undo()
    RunFolder(tmp_path / "run").claim(config, resume=False)


def test_an_empty_folder_may_be_used(tmp_path, config):
    (tmp_path / "new").mkdir()
    assert RunFolder(tmp_path / "new").claim(config, resume=False).state == "preparing"


def test_resuming_needs_a_run(tmp_path, config):
    with pytest.raises(RunFolderError, match=r"config\.yaml"):
        RunFolder(tmp_path / "nothing").claim(config, resume=True)
    assert not (tmp_path / "nothing").exists()


def test_a_live_run_is_not_resumed_by_a_second_process(run, config):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        run.write_status(RunStatus(state="running", pid=child.pid, start=start_token(child.pid)))
        with pytest.raises(RunFolderError, match=f"process {child.pid}"):
            run.claim(config, resume=True)
    finally:
        child.kill()
        child.wait()
    assert run.claim(config, resume=True).pid == os.getpid()


def test_resuming_keeps_the_history_and_drops_an_old_request(run, config):
    run.write_status(RunStatus(state="paused", step=7, started=5.0, warnings=("careful",)))
    run.ask("pause")
    status = run.claim(config, resume=True)
    assert (status.state, status.step, status.started, status.warnings) == ("preparing", 7, 5.0, ("careful",))
    assert run.asked() is None


def test_resuming_with_other_settings_is_refused_by_name(run, config):
    finished(run)
    other = config.model_copy(update={"epochs": 7, "optimizer": config.optimizer.model_copy(update={"base_lr": 1.0})})
    with pytest.raises(RunFolderError, match=r"epochs, optimizer"):
        run.claim(other, resume=True)


def test_requests(run):
    assert run.asked() is None
    for request in ("stop", "pause", "cancel"):
        run.ask(request)
        assert run.asked() == request
    run.control.write_text("explode")
    assert run.asked() is None


def test_metrics_are_read_as_they_come_whole_lines_only(run):
    reader = MetricsReader(run.metrics_file)
    assert not reader.update()
    run.append_metrics({"kind": "step", "step": 1})
    with run.metrics_file.open("a") as file:
        file.write('{"kind": "step", "st')
    assert reader.update()
    assert [record["step"] for record in reader.records] == [1]
    assert not reader.update()
    with run.metrics_file.open("a") as file:
        file.write('ep": 2}\n')
    assert reader.update()
    assert [record["step"] for record in reader.records] == [1, 2]


def test_a_reader_follows_a_run_that_was_cut_and_went_on(run):
    for step in range(1, 6):
        run.append_metrics({"kind": "step", "step": step})
    reader = MetricsReader(run.metrics_file)
    reader.update()
    with run.metrics_file.open("a") as file:
        file.write('{"kind": "step", "step": 6')
    run.cut_metrics(3)
    for step in range(4, 10):
        run.append_metrics({"kind": "step", "step": step})
    assert reader.update()
    assert [record["step"] for record in reader.records] == list(range(1, 10)) == [record["step"] for record in run.metrics()]


def test_checkpoints_are_sorted_by_number(run):
    for name in ("step-000009", "step-1000000", "step-000010", ".step-000011.tmp"):
        (run.checkpoints_folder / name).mkdir(parents=True)
    assert [path.name for path in run.checkpoints()] == ["step-000009", "step-000010", "step-1000000"]
    run.remove_leftovers()
    assert not (run.checkpoints_folder / ".step-000011.tmp").exists()


def test_runs_are_listed_oldest_first(tmp_path, config):
    for name, started in (("b", 10.0), ("a", 20.0)):
        run = RunFolder(tmp_path / "all" / name)
        run.claim(config, resume=False)
        run.write_status(RunStatus(state="finished", started=started))
    (tmp_path / "all" / "c").mkdir()
    (tmp_path / "all" / "notes.txt").touch()
    assert [run.path.name for run in list_runs(tmp_path / "all")] == ["b", "a"]
    assert [run.path.name for run in list_runs(tmp_path / "all" / "a")] == ["a"]
    assert list_runs(tmp_path / "none") == []


def test_status_says_where_it_runs():
    status = RunStatus(state="running")
    assert (status.host, status.pid) == (platform.node(), os.getpid())
