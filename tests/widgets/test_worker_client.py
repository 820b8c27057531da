"""The query worker: one warm child, latest wins, killed and released without harm."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from qtpy.QtCore import QObject

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.tiles.inspect import Inspection
from napari_sdmae.widgets.worker_client import QueryWorker, describe
from napari_sdmae.worker.protocol import ErrorCode, ImportRequest, InspectRequest, WorkerError

pytestmark = pytest.mark.gui


def make_child():
    """Return the child's function, nested so that it travels by value (the child cannot import this file)."""

    def respond(question):
        import os
        import sys
        from pathlib import Path

        import numpy as np

        if "sleep" in question:
            time.sleep(question["sleep"])
        while "until" in question and not Path(question["until"]).exists():
            time.sleep(0.01)
        if "raise" in question:
            raise ValueError(question["raise"])
        if "keep_mb" in question:
            sys.kept = np.ones((question["keep_mb"], 1 << 20), np.uint8)
        names = {name.partition(".")[0] for name in sys.modules}
        return {"n": question.get("n"), "pid": os.getpid(), "gui": sorted(names & {"napari", "qtpy", "PyQt5", "PyQt6", "vispy"})}

    return respond


@pytest.fixture
def worker(qtbot):
    worker = QueryWorker(make_child(), idle_seconds=lambda: 60)
    yield worker
    worker.release()
    qtbot.waitUntil(lambda: not worker.busy, timeout=60000)


class Asker(QObject):
    def __init__(self, worker, qtbot):
        super().__init__()
        self.worker, self.qtbot, self.answers, self.failures, self.threads = worker, qtbot, [], [], []

    def ask(self, purpose="test", live=False, **question):
        self.worker.submit(question, self._answer, self.failures.append, user=self, purpose=purpose, live=live)

    def _answer(self, answer):
        self.threads.append(threading.current_thread())
        self.answers.append(answer)

    def wait(self, count=1):
        self.qtbot.waitUntil(lambda: len(self.answers) + len(self.failures) >= count, timeout=90000)
        return self.answers[-1] if self.answers else None

    @property
    def numbers(self):
        return [answer["n"] for answer in self.answers]


@pytest.fixture
def asker(worker, qtbot):
    return Asker(worker, qtbot)


def test_answers_arrive_on_the_main_thread_from_a_child_without_gui(asker):
    asker.ask(n=1)
    answer = asker.wait()
    assert answer["n"] == 1
    assert answer["pid"] != os.getpid()
    assert answer["gui"] == []
    assert asker.threads == [threading.main_thread()]


def test_asking_does_not_block_the_event_loop(asker, tmp_path):
    asker.ask(n=1, until=str(tmp_path / "asked"))
    (tmp_path / "asked").touch()  # which the computing waits for: where asking waited for that, none would go on
    assert asker.wait()["n"] == 1


def test_the_child_stays_the_same_although_it_grows(asker):
    pids = set()
    for number, megabytes in enumerate([1, 400]):
        asker.ask(n=number, keep_mb=megabytes)
        pids.add(asker.wait(number + 1)["pid"])
        asker.qtbot.wait(1100)  # loky looks for leaks at most once a second
    asker.ask(n=9)
    pids.add(asker.wait(3)["pid"])
    assert len(pids) == 1


def test_the_latest_question_wins(asker):
    for number in range(10):
        asker.ask(n=number, sleep=0.1)
    asker.wait()
    asker.qtbot.wait(300)
    assert asker.numbers == [9]


def test_a_drag_also_shows_the_answer_under_way(asker):
    for number in range(10):
        asker.ask(n=number, sleep=0.1, live=True)
    asker.wait(2)
    asker.qtbot.wait(300)
    assert asker.numbers == [0, 9]


def test_purposes_do_not_replace_each_other(asker):
    asker.ask("map", n=1)
    asker.ask("info", n=2)
    asker.ask("map", n=3)
    asker.wait(2)
    assert sorted(asker.numbers) == [2, 3]


def test_a_forgotten_question_is_not_answered(asker):
    asker.ask("map", n=1, sleep=0.2)
    asker.worker.forget(asker, "map")
    asker.ask("other", n=2)
    asker.wait()
    assert asker.numbers == [2]


NEVER = "/there/is/no/such/file"


def test_cancel_ends_the_computing_and_leaves_the_questions_of_others(asker, worker, qtbot):
    other = Asker(worker, qtbot)
    asker.ask(n=1)
    pid = asker.wait()["pid"]
    asker.ask(n=2, until=NEVER)
    other.ask(n=3)
    worker.cancel(other, "another purpose")
    qtbot.wait(100)
    assert worker.serves(asker, "test")
    worker.cancel(asker, "test")
    assert other.wait()["pid"] != pid
    assert (asker.numbers, asker.failures, other.numbers) == ([1], [], [3])


def test_what_is_cancelled_while_its_pixels_are_read_is_never_computed(asker, worker, qtbot):
    reading, read = threading.Event(), threading.Event()

    def question():
        reading.set()
        read.wait(60)
        return {"n": 1, "until": NEVER}

    worker.submit(question, asker.answers.append, asker.failures.append, user=asker, purpose="test")
    assert reading.wait(60)
    worker.cancel(asker, "test")
    asker.ask("other", n=2)
    read.set()
    assert asker.wait()["n"] == 2


def test_an_error_comes_in_one_line_and_in_full(asker):
    asker.ask(**{"raise": "tile size 30 px\nis not a multiple of 16"})
    asker.wait()
    (failure,) = asker.failures
    assert failure.line == "tile size 30 px is not a multiple of 16"
    assert "in respond" in failure.details


def test_results_and_errors_come_out_of_the_child_as_what_they_are(qtbot, tissue):
    """With the real handlers, through loky's own pickling."""
    worker, user, results, errors = QueryWorker(idle_seconds=lambda: 60), QObject(), [], []
    for number, source in enumerate((tissue / "tiles", tissue / "gone")):
        request = InspectRequest(PretrainConfig(data=source))
        worker.submit(request, results.append, errors.append, user=user, purpose=str(number))
    worker.submit(ImportRequest(tissue / "gone.png"), results.append, errors.append, user=user, purpose="import")
    qtbot.waitUntil(lambda: len(results) + len(errors) == 3, timeout=90000)
    worker.release()
    (inspection,) = results
    assert isinstance(inspection, Inspection)
    assert inspection.images == len(list(tissue.glob("tiles/*/*.jpg")))
    assert [error.code for error in errors] == [ErrorCode.UNUSABLE_DATA, ErrorCode.INVALID]
    assert str(tissue / "gone") in errors[0].line
    assert "in inspect" in errors[0].details


def test_an_unexpected_error_says_its_kind():
    assert describe(KeyError("depth")).line == "KeyError: 'depth'"
    assert describe(FileNotFoundError("no model in /runs/a")).line == "no model in /runs/a"


def test_a_killed_child_is_reported_and_the_next_question_works(asker):
    asker.ask(n=1)
    pid = asker.wait()["pid"]
    asker.ask(n=2, sleep=30)
    asker.qtbot.wait(300)
    os.kill(pid, signal.SIGKILL)
    asker.qtbot.waitUntil(lambda: bool(asker.failures), timeout=90000)
    assert asker.failures[0].line.startswith("The computation stopped unexpectedly")
    assert asker.failures[0].code is ErrorCode.ENDED
    asker.ask(n=3)
    asker.qtbot.waitUntil(lambda: asker.numbers == [1, 3], timeout=90000)
    assert asker.answers[-1]["pid"] != pid


def test_a_child_killed_between_questions_is_replaced(asker):
    asker.ask(n=1)
    os.kill(asker.wait()["pid"], signal.SIGKILL)
    asker.qtbot.wait(500)
    asker.ask(n=2)
    asker.wait(2)
    assert asker.numbers == [1, 2] or isinstance(asker.failures[0], WorkerError)


def test_the_idle_child_goes_and_comes_back(qtbot):
    seconds = 60.0
    worker = QueryWorker(make_child(), idle_seconds=lambda: seconds)
    asker = Asker(worker, qtbot)
    asker.ask(n=0)
    asker.wait()
    seconds = 0.5  # a person changes the preference
    asker.ask(n=1)
    pid = asker.wait(2)["pid"]
    qtbot.waitUntil(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", timeout=60000)
    asker.ask(n=2)
    assert asker.wait(3)["pid"] != pid
    worker.release()


def test_the_preference_is_read_on_the_main_thread(qtbot):
    """From another, napari would discover its plugins again, and fail: their commands are registered already."""
    threads = []

    def idle_seconds():
        threads.append(threading.current_thread())
        return 60.0

    worker = QueryWorker(make_child(), idle_seconds=idle_seconds)
    asker = Asker(worker, qtbot)
    asker.ask(n=0)
    asker.ask(n=1)
    asker.wait()
    worker.release()
    assert set(threads) == {threading.main_thread()}


def test_release_ends_the_child_under_a_question(asker):
    asker.ask(n=1)
    pid = asker.wait()["pid"]
    asker.ask(n=2, sleep=30)
    asker.qtbot.wait(200)
    asker.worker.release()
    asker.qtbot.waitUntil(lambda: not psutil.pid_exists(pid), timeout=30000)
    asker.qtbot.waitUntil(lambda: not asker.worker.busy, timeout=30000)
    assert (asker.numbers, asker.failures) == ([1], [])


def test_the_child_ends_with_the_last_user(worker, qtbot):
    first, second = Asker(worker, qtbot), Asker(worker, qtbot)
    first.ask(n=1)
    pid = first.wait()["pid"]
    second.ask(n=2)
    second.wait()
    first.deleteLater()
    qtbot.wait(300)
    assert psutil.pid_exists(pid)
    second.deleteLater()
    qtbot.waitUntil(lambda: not psutil.pid_exists(pid), timeout=30000)


SCRIPT = """
import sys
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication
from napari_sdmae.widgets.worker_client import QueryWorker
app = QApplication([])
def respond(question):
    import os, time
    time.sleep(question["sleep"])
    return os.getpid()
worker, user = QueryWorker(respond), QObject()
def second(pid):
    print(pid, flush=True)
    worker.submit({"sleep": 100_000}, print, print, user=user)
    QTimer.singleShot(300, app.quit)
worker.submit({"sleep": 0}, second, print, user=user)
app.exec()
"""


def test_quitting_leaves_no_process_behind(tmp_path):
    script = tmp_path / "app.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=True)
    assert not psutil.pid_exists(int(done.stdout.split()[0]))
