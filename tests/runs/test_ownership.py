"""Which job a run belongs to: whatever the clock does, however many want it, wherever its folder goes."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from napari_sdmae.cli import main
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.io.processes import start_token
from napari_sdmae.runs.events import Ended, Event, Preparing, Started
from napari_sdmae.runs.folder import RunFolder, RunFolderError, RunStatus, TakenOverError, is_alive
from napari_sdmae.runs.ownership import claiming
from napari_sdmae.runs.ownership.authorship import place_of
from napari_sdmae.runs.ownership.job_numbers import OWNERS, latest_owner
from napari_sdmae.runs.recorder import record
from napari_sdmae.runs.run_list import list_runs
from napari_sdmae.runs.status import SILENCE_S, Listener

STEPS = [-3600, -10, 10, 3600]


@pytest.fixture
def config(tmp_path: Path) -> PretrainConfig:
    return PretrainConfig(data=tmp_path)


@pytest.fixture
def run(tmp_path: Path, config: PretrainConfig) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "run")
    folder.claim(config, resume=False)
    return folder


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def written_by(run: RunFolder, pid: int, **changes: object) -> RunStatus:
    """Let the process `pid` own the run and say that it trains."""
    author = {"pid": pid, "start": start_token(pid) or "", **place_of(run.path), **changes}
    file = run.path / OWNERS / "000001" / "process.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | author))
    told = RunStatus(state="running", owner=1, process_started=time.time(), **author)
    run.write_status(told)
    return told


def elsewhere(run: RunFolder, **changes: object) -> RunStatus:
    """Let a job on another machine own the run."""
    return written_by(run, 4711, host="gpu7", boot="another", start="1", **changes)


@contextmanager
def clock_set(seconds: float) -> Iterator[None]:
    """Set the clock of the system, as programs see it that ask for the time, or for the start of a process counted from boot."""
    with pytest.MonkeyPatch.context() as patch:
        now, created = time.time, psutil.Process.create_time
        patch.setattr(time, "time", lambda: now() + seconds)
        patch.setattr(psutil.Process, "create_time", lambda process: created(process) + seconds)
        yield


@pytest.mark.parametrize("seconds", STEPS)
def test_a_living_job_lives_whatever_its_clock_is_set_to(run, config, child, seconds):
    written_by(run, child.pid)
    with clock_set(seconds):
        assert run.status().state == "running"
        with pytest.raises(RunFolderError, match=f"in use by process {child.pid}"):
            run.claim(config, resume=True)
    child.kill()
    child.wait()
    with clock_set(seconds):
        assert run.status().state == "interrupted"


@pytest.mark.parametrize("seconds", STEPS)
def test_a_heart_that_beats_is_heard_whatever_the_clocks_are_set_to(run, seconds):
    mine, listener = [1000.0], Listener(lambda: mine[0])
    told = elsewhere(run)
    for beat in range(5):
        mine[0] += SILENCE_S - 1
        with clock_set(seconds):
            assert not listener.is_silent(told.model_copy(update={"beat": beat}))
    mine[0] += SILENCE_S - 1
    assert not listener.is_silent(told.model_copy(update={"beat": 4}))
    mine[0] += 2
    assert listener.is_silent(told.model_copy(update={"beat": 4, "state": "running"}))
    assert not listener.is_silent(told.model_copy(update={"beat": 5}))


def test_whoever_has_just_begun_to_look_calls_nobody_silent(run):
    assert not Listener(lambda: 1e6).is_silent(elsewhere(run, heartbeat=0))


def test_a_job_elsewhere_is_neither_resumed_nor_called_dead(run, config):
    told = elsewhere(run, heartbeat=time.time() - 86400)
    assert is_alive(told) is None
    assert run.status().state == "running"
    with pytest.raises(RunFolderError, match=r"cannot be told .* process 4711 on gpu7 .* --take-over"):
        run.claim(config, resume=True)
    assert latest_owner(run.path).pid == 4711


def test_a_run_is_taken_over_from_a_silent_job_not_from_one_that_is_heard(run, config, monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds), time=time.time)
    monkeypatch.setattr(claiming, "time", clock)
    told = elsewhere(run)
    beats = iter(range(1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "written_status", lambda: told.model_copy(update={"beat": next(beats)}))
        with pytest.raises(RunFolderError, match="its heartbeat goes on"):
            run.claim(config, resume=True, take_over=True)
    assert run.claim(config, resume=True, take_over=True).owner == 2
    assert run.status().state == "preparing"


def test_a_living_job_of_this_machine_is_never_taken_over(run, config, child):
    written_by(run, child.pid)
    with pytest.raises(RunFolderError, match="in use"):
        run.claim(config, resume=True, take_over=True)


RACER = """
import os, sys, time
from pathlib import Path
from napari_sdmae.runs.ownership import claiming
from napari_sdmae.runs.folder import RunFolder, RunFolderError
from napari_sdmae.config.pretrain import PretrainConfig
claiming.LISTEN_S = 0.1
folder, how, racers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config = PretrainConfig(data=folder.parent.parent)
gate = [os.pipe(), os.pipe()]
children = []
for racer in range(racers):
    children.append(os.fork())
    if not children[-1]:
        os.close(gate[0][1]); os.read(gate[0][0], 1)  # all of them start when the parent closes the pipe
        try:
            RunFolder(folder).claim(config, resume=how != "start", take_over=how == "take over")
            said = "won"
        except RunFolderError as error:
            said = str(error)
        os.write(gate[1][1], (said.replace("\\n", " ") + "\\n").encode())
        os.close(gate[1][1])
        time.sleep(60)
os.close(gate[0][1]); os.close(gate[1][1])
told = b""
while told.count(b"\\n") < racers:
    told += os.read(gate[1][0], 65536)
for child in children: os.kill(child, 9)
sys.stdout.buffer.write(told)
"""


@pytest.mark.parametrize("how", ["start", "resume", "take over"])
def test_of_many_processes_exactly_one_gets_the_run_and_the_others_are_told(tmp_path, run, how):
    if how == "resume":
        run.write_status(RunStatus(state="paused", owner=1))
    elif how == "take over":
        elsewhere(run)
    else:
        shutil.rmtree(run.path)
    command = [sys.executable, "-c", RACER, str(run.path), how, "6"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told.count("won") == 1, told
    losers = [line for line in told if line != "won"]
    assert len(losers) == 5
    assert all("process" in line and str(run.path) in line for line in losers), told


KILLED = """
import os, signal, sys
from pathlib import Path
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.config.pretrain import PretrainConfig
root = Path(sys.argv[1])
config = PretrainConfig(data=root)
OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link"}
def die_at(number):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event in OPERATIONS and str(root) in str(arguments[0]):
            count += 1
            if count == number: os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
def claimed(number, folder, resume):
    if (child := os.fork()) == 0:
        die_at(number)
        RunFolder(folder).claim(config, resume=resume)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
for resume in (False, True):
    for number in range(1, 1000):
        folder = root / f"{'resume' if resume else 'start'}-{number}"
        if resume: claimed(0, folder, False)
        if claimed(number, folder, resume): break
        started = RunFolder(folder).status_file.exists()
        RunFolder(folder).claim(config, resume=started)
        RunFolder(folder).remove_leftovers()
        assert not [path for path in folder.rglob(".*tmp*")], list(folder.rglob("*"))
    print(number)
"""


def test_a_job_killed_at_any_moment_of_its_claim_leaves_a_folder_that_starts_or_resumes(tmp_path):
    """SIGKILL before the n-th call that opens, makes, renames or removes something in the folder, for every n."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert min(map(int, done.stdout.split())) > 8


def test_settings_of_somebody_in_an_otherwise_empty_folder_are_not_ours(tmp_path, config):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").write_text("epochs: 3\n")
    with pytest.raises(RunFolderError, match="not empty"):
        RunFolder(tmp_path / "new").claim(config, resume=False)
    assert (tmp_path / "new" / "config.yaml").read_text() == "epochs: 3\n"


def test_a_lock_left_by_an_earlier_version_blocks_nothing(tmp_path, run, config):
    run.write_status(RunStatus(state="paused"))
    (run.path / ".claim.tmp").write_text(str(os.getppid()))
    assert run.claim(config, resume=True).state == "preparing"
    new = RunFolder(tmp_path / "new")
    new.path.mkdir()
    (new.path / ".claim.tmp").touch()
    assert new.claim(config, resume=False).state == "preparing"
    new.remove_leftovers()
    assert not (new.path / ".claim.tmp").exists()


def test_hidden_files_of_others_are_no_leftovers(run):
    for name in (".notes.tmp", ".thesis.docx.tmp", ".config.yaml.77.tmp"):
        (run.path / name).touch()
    run.remove_leftovers()
    assert {path.name for path in run.path.glob(".*.tmp")} == {".notes.tmp", ".thesis.docx.tmp"}


# --- the job that lost its run --------------------------------------------------------------------------------------


def content(run: RunFolder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("then", ["goes on", "misses its files"])
def test_a_job_that_comes_back_to_life_ends_and_writes_nothing(run, monkeypatch, then):
    monkeypatch.setattr("napari_sdmae.runs.recorder.HEARTBEAT_S", 0.02)

    def events() -> Iterator[Event]:
        yield Preparing(0, 1, "asleep")
        if then == "misses its files":
            raise FileNotFoundError(2, "No such file or directory")
        yield Started(0, 9, 3, 3, "cpu", "fp32")

    recorded = record(events(), run)
    next(recorded)
    shutil.copytree(run.path / OWNERS / "000001", run.path / OWNERS / "000002")  # another job took the next number
    mine = RunStatus(state="running", step=7, owner=2)
    run.write_status(mine)
    before = content(run)
    with pytest.raises(TakenOverError, match="taken over"):
        next(recorded)
    time.sleep(0.1)  # some heartbeats
    assert content(run) == before


def test_a_job_that_lost_its_run_ends_at_its_next_step(make_config, tmp_path):
    from napari_sdmae.runs.events import StepLogged
    from napari_sdmae.training import pretrain

    run = RunFolder(tmp_path / "run")
    with pytest.raises(TakenOverError):  # noqa: PT012  the events come one by one
        for event in pretrain(make_config(), run=run.path):
            if isinstance(event, StepLogged) and event.step == 4:
                shutil.copytree(run.path / OWNERS / "000001", run.path / OWNERS / "000002")
                before = content(run)
    assert content(run) == before


# --- copies and moves -----------------------------------------------------------------------------------------------


@pytest.fixture
def copy(run, child, tmp_path) -> RunFolder:
    """A copy of the run that `child` works in."""
    written_by(run, child.pid)
    shutil.copytree(run.path, tmp_path / "runs" / "copy")
    return RunFolder(tmp_path / "runs" / "copy")


def test_a_copy_of_a_living_run_is_interrupted_and_goes_on_by_itself(run, config, copy):
    assert (run.status().state, copy.status().state) == ("running", "interrupted")
    assert copy.claim(config, resume=True).state == "preparing"
    assert copy.status().state == "preparing"
    with pytest.raises(RunFolderError, match="in use"):
        run.claim(config, resume=True)


@pytest.mark.parametrize("command", ["stop", "pause", "cancel"])
def test_a_copy_is_asked_for_nothing(run, child, copy, capsys, command):
    assert main([command, str(copy.path)]) == 2
    said = capsys.readouterr().err
    assert f"it is a copy of {run.path}, where process {child.pid}" in said
    assert not copy.control.exists()
    assert main([command, str(run.path)]) == 0
    assert run.asked() == command


@pytest.mark.parametrize("how", ["renamed", "linked"])
def test_a_run_under_another_name_is_still_the_one_the_job_works_in(run, child, config, tmp_path, capsys, how):
    written_by(run, child.pid)
    other = RunFolder(tmp_path / "other")
    other.path.symlink_to(run.path) if how == "linked" else run.path.rename(other.path)
    assert other.status().state == "running"
    assert main(["pause", str(other.path)]) == 0
    assert other.asked() == "pause"
    with pytest.raises(RunFolderError, match="in use"):
        other.claim(config, resume=True)


def test_a_job_follows_its_run_when_the_folder_is_moved(make_config, tmp_path):
    from napari_sdmae.runs.events import StepLogged
    from napari_sdmae.training import pretrain

    run, moved = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "archive" / "moved")
    moved.path.parent.mkdir()
    for event in pretrain(make_config(), run=run.path):
        if isinstance(event, StepLogged) and event.step == 4:
            run.path.rename(moved.path)
    assert event == Ended("finished", 9)
    assert not run.path.exists()
    assert moved.status().state == "finished"
    assert [record["step"] for record in moved.metrics() if record["kind"] == "step"] == list(range(1, 10))
    assert moved.last_saved_step() == 9


@pytest.mark.parametrize("lacking", ["pid", "host", "start"])
def test_a_status_that_does_not_say_who_wrote_it_is_not_by_this_process(run, lacking):
    values = json.loads(run.status_file.read_text())
    run.status_file.write_text(json.dumps({name: value for name, value in values.items() if name != lacking}))
    assert not run.written_status().is_me()
    assert [found.path for found in list_runs(run.path)] == [run.path]


def test_the_status_is_by_this_process_and_beats(run):
    recorded = record(iter([Preparing(0, 1, "a"), Ended("finished", 0)]), run)
    next(recorded)
    first = run.written_status()
    assert first.is_me()
    assert (first.folder, first.path) == (run.path.stat().st_ino, str(run.path.resolve()))
    list(recorded)
    assert run.written_status().beat > first.beat
