"""The query worker: one warm child process that answers interactive questions (docs/decisions/0060).

The viewer must never import torch, and never wait. A question is handed to a thread, the thread hands it
to one child process kept by loky's reusable executor, and the answer comes back on the Qt main thread.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

from loky import get_reusable_executor
from loky.process_executor import BrokenProcessPool, ShutdownExecutorError, TerminatedWorkerError
from qtpy.QtCore import QCoreApplication, QObject, Signal

from napari_sdmae.widgets.base.preferences import preference
from napari_sdmae.worker.protocol import QueryError, answer, prepare_worker

# loky ends a worker that grew by 300 MB since its first task: a model and its fields are no leak.
WORKER_ENVIRONMENT = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"}

Question = dict[str, Any]
Answer = Any


@dataclass(frozen=True)
class Failure:
    """A question that could not be answered: one line of cause and what to do, and the full story."""

    line: str
    details: str


def describe(error: BaseException) -> Failure:
    """Return `error`, raised by the worker or by its end, in one line and in full."""
    if isinstance(error, QueryError):
        return Failure(error.line, error.details)
    details = "".join(traceback.format_exception(error))
    if isinstance(error, TerminatedWorkerError | BrokenProcessPool | ShutdownExecutorError):
        return Failure(
            "The process that computes ended unexpectedly, often for want of memory. "
            "Try again (a new one starts), or choose a smaller region or model.",
            details,
        )
    text = " ".join(str(error).split())
    plain = isinstance(error, ValueError | OSError) and text
    return Failure(text if plain else f"{type(error).__name__}: {text}".rstrip(": "), details)


@dataclass(frozen=True)
class _Request:
    ticket: int
    asker: tuple[int, str]
    question: Question | Callable[[], Question]
    on_answer: Callable[[Answer], None]
    on_error: Callable[[Failure], None]


class _Child:
    """The child process. ``ask`` blocks and belongs to one thread; ``end`` may come from another."""

    def __init__(self, function: Callable[[Question], Answer], idle_seconds: float) -> None:
        self._function = function
        self._idle_seconds = idle_seconds
        self._executor: Any = None
        self._lock = Lock()

    def ask(self, question: Question | Callable[[], Question], wanted: Callable[[], bool]) -> Answer:
        if not wanted():
            return None
        question = question() if callable(question) else question
        with self._lock:
            if not wanted():  # any more: reading the pixels took a while, and there was no child to end yet
                return None
            self._executor = get_reusable_executor(
                max_workers=1, timeout=self._idle_seconds, initializer=prepare_worker, env=WORKER_ENVIRONMENT
            )
            future = self._executor.submit(self._function, question)
        return future.result()

    def end(self) -> None:
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=True)


class QueryWorker(QObject):
    """Asks one warm child process, without ever blocking the event loop.

    Questions wait in order of arrival; a new one replaces the waiting one of the same user and purpose
    (latest wins), and the answer to a replaced question is dropped. The child ends by itself when idle,
    and with it goes the GPU memory; the next question starts another. It is ended when the last widget that
    asked is destroyed, and when the application quits.

    Parameters
    ----------
    function
        Importable function called in the child with the question; :func:`napari_sdmae.worker.protocol.answer`.
    idle_seconds
        Time without questions after which the child ends.

    Notes
    -----
    ``busy_changed(bool)`` tells whether a question is being answered.
    """

    busy_changed = Signal(bool)
    _returned = Signal(object, object)

    def __init__(self, function: Callable[[Question], Answer] = answer, idle_seconds: float = 120.0) -> None:
        super().__init__()
        self._child = _Child(function, idle_seconds)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sdmae-query")
        self._waiting: dict[tuple[int, str], _Request] = {}
        self._current: _Request | None = None
        self._latest: dict[tuple[int, str], int] = {}
        self._users: set[int] = set()
        self._tickets = 0
        self._returned.connect(self._receive)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.release)

    def ask(
        self,
        question: Question | Callable[[], Question],
        on_answer: Callable[[Answer], None],
        on_error: Callable[[Failure], None],
        *,
        user: QObject,
        purpose: str = "",
        live: bool = False,
    ) -> int:
        """Ask `question`; call `on_answer` or `on_error` on the main thread, unless it became stale.

        Parameters
        ----------
        question
            As described in :mod:`napari_sdmae.worker.protocol`: plain values and NumPy arrays. Or a function that
            returns it, called in the thread: reading a field of a slide takes time as well.
        on_answer, on_error
            Called with the answer, or with a :class:`Failure`.
        user
            The widget that asks; when it is destroyed its questions are forgotten.
        purpose
            What for. A later question of the same user and purpose makes this one stale.
        live
            The answer under way is still wanted although this newer question was asked: what a drag needs
            to show every map it can instead of only the last.

        Returns
        -------
        int
            The question's ticket.
        """
        self._welcome(user)
        self._tickets += 1
        asker = (id(user), purpose)
        if not live or self._current is None or self._current.asker != asker:
            self._latest[asker] = self._tickets
        self._waiting[asker] = _Request(self._tickets, asker, question, on_answer, on_error)
        self._next()
        return self._tickets

    def forget(self, user: QObject, purpose: str = "") -> None:
        """Drop the waiting question of `user` for `purpose`, and the answer to the one under way."""
        self._forget((id(user), purpose))

    def answering(self, user: QObject, purpose: str = "") -> bool:
        """Tell whether the question being answered is that of `user` for `purpose`."""
        return self._current is not None and self._current.asker == (id(user), purpose)

    def cancel(self, user: QObject, purpose: str = "") -> None:
        """Forget the question of `user` for `purpose`, and stop computing its answer; questions of others stay.

        The child process ends if it is this question that it answers; the next question starts another.
        """
        under_way = self.answering(user, purpose)
        self.forget(user, purpose)
        if under_way:
            self._child.end()

    def release(self) -> None:
        """End the child process now and forget all questions; the next question starts another."""
        self._waiting.clear()
        self._latest.clear()
        self._child.end()

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return self._current is not None

    def _welcome(self, user: QObject) -> None:
        key = id(user)
        if key not in self._users:
            self._users.add(key)
            user.destroyed.connect(lambda: self._leave(key))

    def _leave(self, key: int) -> None:
        self._users.discard(key)
        for asker in [asker for asker in self._latest if asker[0] == key]:
            self._forget(asker)
        if not self._users:
            self.release()

    def _forget(self, asker: tuple[int, str]) -> None:
        self._waiting.pop(asker, None)
        self._latest.pop(asker, None)

    def _wants(self, request: _Request) -> bool:
        return self._latest.get(request.asker) == request.ticket

    def _next(self) -> None:
        if self._current is not None or not self._waiting:
            return
        self._current = request = self._waiting.pop(next(iter(self._waiting)))
        self._latest[request.asker] = request.ticket
        self.busy_changed.emit(True)
        self._thread.submit(self._serve, request)

    def _serve(self, request: _Request) -> None:
        """Answer `request` in the thread; the outcome crosses to the main thread as a queued signal."""
        try:
            outcome = self._child.ask(request.question, lambda: self._wants(request))
        except BaseException as error:
            outcome = describe(error)
        self._returned.emit(request, outcome)

    def _receive(self, request: _Request, outcome: Answer) -> None:
        wanted = self._wants(request)
        self._current = None
        self._next()
        if wanted:
            (request.on_error if isinstance(outcome, Failure) else request.on_answer)(outcome)
        if self._current is None:
            self.busy_changed.emit(False)


_shared: list[QueryWorker] = []


def query_worker() -> QueryWorker:
    """Return the one query worker of this viewer process."""
    if not _shared:
        _shared.append(QueryWorker(idle_seconds=preference("idle_seconds")))
    return _shared[0]
