"""What happens to a job when its terminal goes, its reader has enough, or the disk of its log is full."""

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from napari_sdmae.cli.common.progress import show
from napari_sdmae.cli.common.signals import CAUGHT, Signals
from napari_sdmae.cli.common.streams import SteadyStream
from napari_sdmae.runs.events import Ended, Started, Warned

JOB = """
import sys, time
from pathlib import Path
from napari_sdmae import cli
from napari_sdmae.cli.common import job as _job
from napari_sdmae.runs.events import CheckpointSaved, Ended, Preparing, Started, StepLogged, Warned

def events(config, run, signals, **how):
    yield Preparing(0, 0, "cpu")
    yield Started(0, 400, 1, 400, "cpu", "fp32")
    for step in range(1, 400):
        if signals.request: break
        yield StepLogged(step, step / 400, {"total": 1.0}, 1.0, 0, 0.0)
        if step % 20 == 0: yield CheckpointSaved(step, run)
        if step == 5: Path(sys.argv[1], "trains").touch()
        time.sleep(float(sys.argv[2]))
    yield Ended("stopped" if signals.request else "finished", step)
    Path(sys.argv[1], "ended").write_text(str(signals.request))

_job._events = events
cli.import_module = lambda name: type("Pretrain", (), {"main": lambda words: _job.run_job(None, Path("run"), resume=False)})
Path(sys.argv[1], "status").write_text(str(cli.main(["pretrain"])))
"""
"""A job whose steps cost nothing, under the real command line, signals and progress."""


def job(folder: Path, pause: float, **streams: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", JOB, str(folder), str(pause)], **streams)


def wait_for(path: Path) -> None:
    """Wait until the job has made the file `path`."""
    while not path.exists():  # a hang is ended by pytest-timeout
        time.sleep(0.005)


def closed_pipe() -> int:
    """Return the writing end of a pipe whose reader, such as head, has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def read_only() -> int:
    return os.open("/dev/null", os.O_RDONLY)


@pytest.mark.parametrize("broken", [closed_pipe, full_disk, read_only])
def test_a_job_goes_on_when_nobody_can_read_what_it_prints(tmp_path, broken):
    handle = broken()
    process = job(tmp_path, 0, stdout=handle, stderr=handle)
    os.close(handle)
    assert process.wait(60) == 0
    assert ((tmp_path / "ended").read_text(), (tmp_path / "status").read_text()) == ("None", "0")


def test_a_job_without_any_output_goes_on(tmp_path):
    closing = "import os, sys; os.close(1); os.close(2); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", closing, sys.executable, "-c", JOB, str(tmp_path), "0"]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "status").read_text() == "0"


def hung_up(folder: Path, *ignored: str) -> None:
    """Run a job on a terminal of its own, and close that terminal while the job trains."""
    terminal, inside = pty.openpty()
    begin = f"import os, signal, sys; {'signal.signal(signal.SIGHUP, signal.SIG_IGN); ' if ignored else ''}"
    begin += "os.execv(sys.argv[1], sys.argv[1:])"
    taking = "import os, sys, fcntl, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    command = [sys.executable, "-c", taking + begin, sys.executable, "-c", JOB, str(folder), "0.002"]
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    os.set_blocking(terminal, False)
    wait_for(folder / "trains")
    os.close(terminal)
    process.wait(60)


def test_a_terminal_that_is_closed_means_stop_and_keep(tmp_path):
    hung_up(tmp_path)
    assert ((tmp_path / "ended").read_text(), (tmp_path / "status").read_text()) == ("stop", "143")


def test_a_job_under_nohup_does_not_notice(tmp_path):
    hung_up(tmp_path, "SIGHUP")
    assert ((tmp_path / "ended").read_text(), (tmp_path / "status").read_text()) == ("None", "0")


@pytest.mark.parametrize("name", CAUGHT)
def test_every_signal_of_the_table_is_its_request_unless_it_was_ignored_before(name):
    number, signals = signal.Signals[name], Signals()
    before = signal.getsignal(number)
    with signals.caught():
        signal.raise_signal(number)
    assert signals.request == CAUGHT[name].request
    assert signal.getsignal(number) == before
    try:
        signal.signal(number, signal.SIG_IGN)
        ignoring = Signals()
        with ignoring.caught():
            signal.raise_signal(number)
        assert ignoring.request is None
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_second_hang_up_ends_nothing_and_a_second_term_does():
    signals = Signals()
    with signals.caught():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_steady_stream_writes_what_its_encoding_lacks_in_other_letters():
    raw = io.BytesIO()
    stream = SteadyStream(io.TextIOWrapper(raw, encoding="ascii"))
    print("5 µm – done", file=stream, flush=True)
    assert raw.getvalue() == b"5 \\xb5m \\u2013 done\n"
    assert stream.lost is None


def test_what_steers_a_terminal_is_written_out_wherever_it_comes_from():
    text, raw = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J a\tb\n", io.StringIO()
    print(text, end="", file=SteadyStream(raw))
    assert raw.getvalue() == "\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07 \\x9b2J a\tb\n"
    raw = io.StringIO()
    raw.isatty = lambda: True  # type: ignore[method-assign]
    print(text, end="", file=SteadyStream(raw))
    assert raw.getvalue() == "\x1b[31mred\x1b[0m \\x1b]0;title\\x07 \\x9b2J a\tb\n", "colours of the help are for people"


def test_a_bar_on_a_terminal_moves_its_cursor_and_names_do_not(monkeypatch):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    stream = SteadyStream(os.fdopen(theirs, "w", encoding="utf-8"))
    monkeypatch.setattr(sys, "stderr", stream)
    events = [Started(0, 2, 1, 2, "cpu", "fp32"), Warned("a", "class \x1b[2J is new"), Ended("finished", 2)]
    assert list(show(iter(events), Path("a\x1b[2Jb"))) == events
    monkeypatch.undo()
    stream.close()
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    assert b"\rcpu fp32" in said
    assert b"\\r" not in said
    assert b"class \\x1b[2J is new" in said
    assert b"a\\x1b[2Jb" in said
    assert b"\x1b[2J" not in said


@pytest.mark.parametrize(("broken", "said"), [(closed_pipe, ""), (full_disk, "No space left on device")])
def test_a_list_that_cannot_be_written_is_no_traceback(tmp_path, broken, said):
    handle = broken()
    command = [sys.executable, "-m", "napari_sdmae", "runs", str(tmp_path)]
    done = subprocess.run(command, stdout=handle, stderr=subprocess.PIPE, text=True, check=False)
    os.close(handle)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == bool(said)
