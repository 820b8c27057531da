"""Signals that ask a job for something, in one table.

Closing a terminal sends SIGHUP, which used to end a run without saving: SIGTERM, SIGINT and SIGHUP mean *stop and keep*. A
signal that was ignored when the process began stays ignored (``nohup``). A second SIGTERM or SIGINT ends at once; a second
SIGHUP does not, as shell and system both send one.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from napari_sdmae.runs.folder import Request


class Caught(NamedTuple):
    """What a signal asks for, and whether the second one of its kind ends the process at once."""

    request: Request
    second_ends: bool = True


CAUGHT = {
    "SIGTERM": Caught("stop"),
    "SIGINT": Caught("stop"),
    "SIGHUP": Caught("stop", second_ends=False),  # a terminal that closes sends it once from the shell and once from the system
}
"""By name, as not every system has every signal."""


class Signals:
    """Turns signals into requests.

    A signal that was ignored when the process began (``nohup``, a job in the background of a script) stays ignored.
    """

    def __init__(self) -> None:
        self.request: Request | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals for a while."""
        numbers = [getattr(signal, name) for name in CAUGHT if hasattr(signal, name)]
        heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._catch) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        caught = CAUGHT[signal.Signals(number).name]
        self.request = caught.request
        if caught.second_ends:
            signal.signal(number, signal.SIG_DFL)
