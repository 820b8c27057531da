"""Run folders that others wrote, or may not be read: refused in one line, nothing hangs, nothing is written elsewhere."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sdmae.cli import main
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.runs import run_list
from napari_sdmae.runs.events import Ended, Preparing, Warned
from napari_sdmae.runs.folder import RunFolder, RunFolderError, RunStatus
from napari_sdmae.runs.metrics_log import MetricsReader
from napari_sdmae.runs.recorder import record
from napari_sdmae.runs.run_list import find_runs
from napari_sdmae.text.printable import printable

FILES = ["config.yaml", "status.json", "metrics.jsonl", "log.txt", "control"]
FOLDERS = ["model", "checkpoints", "previews"]


@pytest.fixture
def config(tmp_path: Path) -> PretrainConfig:
    return PretrainConfig(data=tmp_path)


@pytest.fixture
def run(tmp_path: Path, config: PretrainConfig) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "run")
    folder.claim(config, resume=False)
    folder.write_status(RunStatus(state="paused", step=3, owner=1))
    return folder


def put(path: Path, kind: str, outside: Path) -> None:
    """Put a link, FIFO, socket or folder in the place of `path`, or a file in that of a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    match kind:
        case "a link":
            path.symlink_to(outside)
        case "a FIFO":
            os.mkfifo(path)
        case "a socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(os.path.relpath(path))
        case "a folder":
            path.mkdir()
        case "a file":
            path.touch()
        case "a device":
            os.mknod(path, 0o20666, os.makedev(1, 3))


CASES = [(name, kind) for name in FILES for kind in ("a link", "a FIFO", "a socket", "a folder")]
CASES += [(name, kind) for name in FOLDERS for kind in ("a link", "a FIFO", "a file")]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_is_no_regular_file_is_refused_in_one_line_and_never_opened(run, config, tmp_path, name, kind):
    outside = tmp_path / "outside"
    outside.mkdir() if name in FOLDERS else outside.write_text("mine")
    put(run.path / name, kind, outside)
    with pytest.raises(RunFolderError, match=rf"{name} is {kind}, and a (file|folder) was expected") as refused:
        run.claim(config, resume=True)
    assert "\n" not in str(refused.value)
    assert run.asked() is None
    assert run.metrics() == []
    assert outside.read_text() == "mine" if outside.is_file() else not list(outside.iterdir())
    found = find_runs(run.path.parent)  # and whoever lists the runs goes on
    assert len(found.runs) + len(found.unreadable) == 1


@pytest.mark.parametrize("kind", ["a folder", "a FIFO", "a link"])
def test_a_control_that_is_no_file_is_refused_in_one_line_by_those_who_ask(run, tmp_path, capsys, kind):
    run.write_status(RunStatus(state="running"))
    (tmp_path / "outside").write_text("mine")
    put(run.control, kind, tmp_path / "outside")
    assert main(["stop", str(run.path)]) == 2
    error = capsys.readouterr().err
    assert f"control is {kind}" in error
    assert error.count("\n") == 1
    assert (tmp_path / "outside").read_text() == "mine"


def test_a_job_writes_through_no_link_that_comes_while_it_trains(make_config, tmp_path):
    from napari_sdmae.runs.events import CheckpointSaved
    from napari_sdmae.training import pretrain

    run, outside = RunFolder(tmp_path / "run"), tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(RunFolderError, match="model is a link"):  # noqa: PT012  the events come one by one
        for event in pretrain(make_config(), run=run.path):
            if isinstance(event, CheckpointSaved):
                put(run.model, "a link", outside)
    assert not list(outside.iterdir())
    assert run.status().state == "failed"
    assert "model is a link" in run.status().message


@pytest.mark.parametrize("kind", ["a FIFO", "a link", "a folder"])
@pytest.mark.parametrize("name", ["training.json", "model.safetensors"])
def test_a_checkpoint_of_other_things_than_files_is_refused_and_never_opened(tmp_path, name, kind):
    from napari_sdmae.training.loop.checkpoints import TrainingState, check_checkpoint

    state = TrainingState(micro_batch=1, precision="fp32", threads=1, fingerprint="", digests={"model.safetensors": "0"})
    (tmp_path / "training.json").write_text(state.model_dump_json())
    put(tmp_path / name, kind, tmp_path)
    with pytest.raises(OSError, match=f"{name} is {kind}"):
        check_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "NaN", ""])
def test_a_report_that_is_none_is_a_value_error(run, text):
    run.report.write_text(text)
    with pytest.raises(ValueError, match=r"JSON|report"):
        run.read_report()


DEEP = "[" * 100_000
HOSTILE = [
    DEEP,
    "{" + '"a":{' * 50_000,
    "",
    "[]",
    "null",
    "NaN",
    '{"state": "running"',
    '{"state": "exploded"}',
    '{"state": ["running"]}',
    '{"state": "running", "step": -1}',
    '{"state": "running", "step": 1e999}',
    '{"state": "running", "epoch": NaN}',
    '{"state": "running", "started": 1e300}',
    '{"state": "running", "heartbeat": -Infinity}',
    '{"state": "running", "pid": -1}',
    '{"state": "running", "pid": 99999999999999999999}',
    '{"state": "running", "host": 7}',
    '{"state": "paused", "message": {"a": 1}}',
    '{"state": "paused", "warnings": "all"}',
    '{"state": "paused", "message": "' + "x" * 2_000_000 + '"}',
    "\x00\xff\x1b[2J",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_status_that_is_none_is_named_in_one_line_and_hides_no_other_run(run, config, capsys, text):
    other = RunFolder(run.path.with_name("other"))
    other.claim(config, resume=False)
    run.status_file.write_text(text)
    assert main(["runs", str(run.path.parent)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("other")
    assert err.startswith("run: cannot be read (")
    assert err.count("\n") == 1
    assert err.rstrip("\n").isprintable()
    assert main(["pause", str(run.path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run.status() is None


def test_a_run_with_a_lost_status_goes_on_when_its_job_is_known_to_be_dead(run, config):
    run.status_file.write_text(DEEP)
    assert run.claim(config, resume=True).state == "preparing"


ESCAPES = "\x1b]0;pwned\x07\x1b[31mred\x9b5m\u202eesrever\x00"


def test_escapes_of_a_status_do_not_reach_the_terminal(run, capsys):
    values = json.loads(RunStatus(state="paused", best=0.5, best_metric=ESCAPES).model_dump_json())
    values |= {"host": f"gpu{ESCAPES}", "message": ESCAPES, "warnings": [ESCAPES], "device": ESCAPES, "precision": ESCAPES}
    run.status_file.write_text(json.dumps(values))
    assert main(["runs", str(run.path.parent)]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "gpu\\x1b]0;pwned\\x07" in out
    status = run.status()
    for text in (status.host, status.message, *status.warnings, status.device, status.precision):
        assert text.removeprefix("gpu") == printable(ESCAPES)
        assert text.isprintable()


def test_escapes_in_names_do_not_reach_the_log(run):
    list(record(iter([Preparing(0, 1, "a"), Warned("data", f"{ESCAPES}.png is broken"), Ended("finished", 0)]), run))
    assert run.log.read_text().replace("\n", "").isprintable()
    assert "\\x1b[31mred" in run.log.read_text()


def test_line_ends_and_letters_of_all_languages_stay():
    text = "Drüse\t腺体 غدة µm²\n"
    assert printable(text) == text


RECORDS = [
    '{"kind": "step", "step": 1, "epoch": 0.5, "total": 0.25}',
    DEEP,
    "[1, 2]",
    '{"kind": "step"}',
    '{"kind": "step", "step": "2", "epoch": 1}',
    '{"kind": "step", "step": 1' + "0" * 400 + "}",
    '{"kind": ["step"], "step": 2}',
    '{"kind": "epoch", "step": 3, "epoch": 1, "total": "low", "p": [1], "lr": {"a": 1}, "memory": 1' + "0" * 400 + "}",
    '{"kind": "step", "step": 4, "note": "' + "x" * 200_000 + '"}',
    '{"kind": "step", "step": 5, "epoch": 2, "total": NaN}',
]


def test_records_that_are_none_are_left_out(run):
    run.metrics_file.write_text("\n".join(RECORDS) + "\n")
    found = run.metrics()
    assert found[:2] == [json.loads(RECORDS[0]), {"kind": "epoch", "step": 3, "epoch": 1}]
    assert [record["step"] for record in found] == [1, 3, 5]
    run.cut_metrics(3)
    assert [record["step"] for record in run.metrics()] == [1, 3]


def test_long_metrics_are_read_part_by_part(run, monkeypatch):
    monkeypatch.setattr("napari_sdmae.runs.metrics_log.AT_ONCE", 100)
    for step in range(20):
        run.append_metrics({"kind": "step", "step": step})
    with run.metrics_file.open("a") as file:
        file.write("x" * 1000 + "\n")
    run.append_metrics({"kind": "step", "step": 20})
    assert [record["step"] for record in run.metrics()] == list(range(21))
    reader = MetricsReader(run.metrics_file)
    assert reader.update()
    assert 0 < len(reader.records) < 5


def test_settings_that_repeat_themselves_are_refused_in_one_line(run, capsys):
    laughs = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    laughs += [f"{name}: &{name} [{', '.join(['*' + before] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)]
    for text in ("\n".join(laughs), DEEP, "\x00", "- 1"):
        run.config.write_text(text)
        assert main(["resume", str(run.path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


NOBODY = 65534
AS_NOBODY = f"""
import contextlib, io, os, sys
from napari_sdmae.cli import main
os.chdir(sys.argv[1])
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main(["runs", "."])  # imports what nobody may not read
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
sys.exit(main(["runs", "."]))
"""


@pytest.mark.parametrize("closed", ["run", "run/status.json"])
def test_a_run_of_another_user_is_named_and_the_others_are_listed(run, config, closed):
    other = RunFolder(run.path.with_name("other"))
    other.claim(config, resume=False)
    run.path.parent.chmod(0o755)
    (run.path.parent / closed).chmod(0)
    try:
        command = [sys.executable, "-c", AS_NOBODY, str(run.path.parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        (run.path.parent / closed).chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("other")
    assert done.stderr == "run: cannot be read (Permission denied)\n"


def test_a_folder_of_runs_that_cannot_be_read_is_said(tmp_path, monkeypatch, capsys):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(run_list.Path, "iterdir", closed)
    assert find_runs(tmp_path).unreadable == ((tmp_path, "Permission denied"),)
    assert main(["runs", str(tmp_path)]) == 1
    assert "cannot be read (Permission denied)" in capsys.readouterr().err


def test_a_run_whose_status_is_closed_to_this_user_is_not_resumed(run, config, monkeypatch):
    def closed(path, largest):
        raise PermissionError(13, "Permission denied", str(path))

    run.leave()
    monkeypatch.setattr("napari_sdmae.runs.folder.read_regular", closed)
    with pytest.raises(RunFolderError, match=r"status\.json cannot be read: Permission denied"):
        RunFolder(run.path).claim(config, resume=True)
