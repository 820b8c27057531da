"""Work that takes a while and needs no model, such as compressing pictures: in a thread, told on the main thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any


def tell_when_done(work: Callable[[], tuple[Any, ...]], told: Any, failed: Callable[[str], tuple[Any, ...]]) -> None:
    """Call `work` in a thread, and emit what it returns.

    Parameters
    ----------
    work
        Returns the values of the signal.
    told
        Qt signal of a widget; a widget that was closed meanwhile is told nothing.
    failed
        Returns the values of the signal from the message of an error.
    """

    def run() -> None:
        try:
            values = work()
        except Exception as error:  # in a thread nobody else would tell
            values = failed(" ".join(str(error).split()))
        with suppress(RuntimeError):  # of a widget that is gone
            told.emit(*values)

    Thread(target=run, daemon=True).start()
