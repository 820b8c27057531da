"""The query worker: one warm child process that serves interactive requests (docs/decisions/0060).

The viewer must never import torch, and never wait. A request is handed to a thread, the thread hands it
to one child process kept by loky's reusable executor, and the result comes back on the Qt main thread.
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

from napari_sdmae.widgets.base.lifetime import when_destroyed
from napari_sdmae.widgets.base.preferences import preference
from napari_sdmae.worker.child import prepare_worker
from napari_sdmae.worker.protocol import ErrorCode, Request, ResultT, WorkerError, handle

# loky ends a worker that grew by 300 MB since its first task: a model and its fields are no leak.
WORKER_ENVIRONMENT = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"}

Sender = tuple[int, str]
"""Who submitted a request, by id, and what for."""


def describe(error: BaseException) -> WorkerError:
    """Return what `error`, raised by the worker or by its end, means."""
    if isinstance(error, WorkerError):
        return error
    if isinstance(error, TerminatedWorkerError | BrokenProcessPool | ShutdownExecutorError):
        return WorkerError(
            ErrorCode.ENDED,
            "The computation stopped unexpectedly, often because memory ran out. Try again, or choose a smaller region or model.",
            "".join(traceback.format_exception(error)),
        )
    return WorkerError.of(error)


@dataclass(frozen=True)
class _Job:
    """A request on its way; its types were checked where it was submitted."""

    ticket: int
    sender: Sender
    request: Request[Any] | Callable[[], Request[Any]]
    on_result: Callable[[Any], None]
    on_error: Callable[[WorkerError], None]


class _Child:
    """The child process. ``run`` blocks and belongs to one thread; ``end`` may come from another."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._executor: Any = None
        self._lock = Lock()

    def run(self, request: Request[Any] | Callable[[], Request[Any]], wanted: Callable[[], bool], idle_seconds: float) -> Any:
        if not wanted():
            return None
        request = request() if callable(request) else request
        with self._lock:
            if not wanted():  # any more: reading the pixels took a while, and there was no child to end yet
                return None
            self._executor = get_reusable_executor(
                max_workers=1, timeout=idle_seconds, initializer=prepare_worker, env=WORKER_ENVIRONMENT
            )
            future = self._executor.submit(self._function, request)
        return future.result()

    def end(self) -> None:
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=True)


class QueryWorker(QObject):
    """Gives requests to one warm child process, without ever blocking the event loop.

    Requests wait in order of arrival; a new one replaces the waiting one of the same user and purpose
    (latest wins), and the result of a replaced request is dropped. The child ends by itself when idle,
    and with it goes the GPU memory; the next request starts another. It is ended when the last widget that
    used it is destroyed, and when the application quits.

    Parameters
    ----------
    function
        Importable function called in the child with the request; :func:`napari_sdmae.worker.protocol.handle`.
    idle_seconds
        Returns the time without requests after which the child ends; called for each request, as people change it, and on the
        main thread: napari's preferences cannot be read from another.

    Notes
    -----
    ``busy_changed(bool)`` tells whether a request is under way.
    """

    busy_changed = Signal(bool)
    _returned = Signal(object, object)

    def __init__(self, function: Callable[[Any], Any] = handle, idle_seconds: Callable[[], float] = lambda: 120.0) -> None:
        super().__init__()
        self._child = _Child(function)
        self._idle_seconds = idle_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sdmae-query")
        self._waiting: dict[Sender, _Job] = {}
        self._current: _Job | None = None
        self._latest: dict[Sender, int] = {}
        self._users: set[int] = set()
        self._tickets = 0
        self._returned.connect(self._receive)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.release)

    def submit(
        self,
        request: Request[ResultT] | Callable[[], Request[ResultT]],
        on_result: Callable[[ResultT], None],
        on_error: Callable[[WorkerError], None],
        *,
        user: QObject,
        purpose: str = "",
        live: bool = False,
    ) -> int:
        """Submit `request`; call `on_result` or `on_error` on the main thread, unless it became stale.

        Parameters
        ----------
        request
            Of :mod:`napari_sdmae.worker.protocol`, or a function that returns one, called in the thread: reading a field of a
            slide takes time as well.
        on_result, on_error
            Called with the result of the request, or with what went wrong.
        user
            The widget that submits it; when it is destroyed its requests are forgotten.
        purpose
            What for. A later request of the same user and purpose makes this one stale.
        live
            The result under way is still wanted although this newer request was submitted: what a drag needs
            to show every map it can instead of only the last.

        Returns
        -------
        int
            The request's ticket.
        """
        self._welcome(user)
        self._tickets += 1
        sender = (id(user), purpose)
        if not live or self._current is None or self._current.sender != sender:
            self._latest[sender] = self._tickets
        self._waiting[sender] = _Job(self._tickets, sender, request, on_result, on_error)
        self._next()
        return self._tickets

    def forget(self, user: QObject, purpose: str = "") -> None:
        """Drop the waiting request of `user` for `purpose`, and the result of the one under way."""
        self._forget((id(user), purpose))

    def serves(self, user: QObject, purpose: str = "") -> bool:
        """Return whether the request under way is that of `user` for `purpose`."""
        return self._current is not None and self._current.sender == (id(user), purpose)

    def cancel(self, user: QObject, purpose: str = "") -> None:
        """Forget the request of `user` for `purpose`, and stop computing its result; requests of others stay.

        The child process ends if it is busy with this request; the next request starts another.
        """
        under_way = self.serves(user, purpose)
        self.forget(user, purpose)
        if under_way:
            self._child.end()

    def release(self) -> None:
        """End the child process now and forget all requests; the next request starts another."""
        self._waiting.clear()
        self._latest.clear()
        self._child.end()

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._current is not None

    def _welcome(self, user: QObject) -> None:
        key = id(user)
        if key not in self._users:
            self._users.add(key)
            when_destroyed(user, lambda: self._leave(key))

    def _leave(self, key: int) -> None:
        self._users.discard(key)
        for sender in [sender for sender in self._latest if sender[0] == key]:
            self._forget(sender)
        if not self._users:
            self.release()

    def _forget(self, sender: Sender) -> None:
        self._waiting.pop(sender, None)
        self._latest.pop(sender, None)

    def _wants(self, job: _Job) -> bool:
        return self._latest.get(job.sender) == job.ticket

    def _next(self) -> None:
        if self._current is not None or not self._waiting:
            return
        self._current = job = self._waiting.pop(next(iter(self._waiting)))
        self._latest[job.sender] = job.ticket
        self.busy_changed.emit(True)
        self._thread.submit(self._serve, job, self._idle_seconds())

    def _serve(self, job: _Job, idle_seconds: float) -> None:
        """Run `job` in the thread; the outcome crosses to the main thread as a queued signal."""
        try:
            outcome = self._child.run(job.request, lambda: self._wants(job), idle_seconds)
        except BaseException as error:
            outcome = describe(error)
        self._returned.emit(job, outcome)

    def _receive(self, job: _Job, outcome: Any) -> None:
        wanted = self._wants(job)
        self._current = None
        self._next()
        if wanted:
            (job.on_error if isinstance(outcome, WorkerError) else job.on_result)(outcome)
        if self._current is None:
            self.busy_changed.emit(False)


_shared: list[QueryWorker] = []


def query_worker() -> QueryWorker:
    """Return the one query worker of this viewer process."""
    if not _shared:
        _shared.append(QueryWorker(idle_seconds=lambda: float(preference("idle_seconds"))))
    return _shared[0]
