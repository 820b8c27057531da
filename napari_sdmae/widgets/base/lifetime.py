"""What is to be done when Qt destroys a widget, such as ending its connections to the viewer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from inspect import ismethod
from typing import Any
from weakref import WeakMethod

from qtpy.QtCore import QObject

_endings: set[Callable[[], None]] = set()
"""Functions that Qt will call. Held here as well: the garbage collector, when it takes a widget together with a function that the
widget alone holds, may empty the function before Qt calls it, and PyQt6 crashes."""


def when_destroyed(widget: QObject, act: Callable[[], Any]) -> None:
    """Call `act` when Qt destroys `widget`. A method is called if its object still lives: it is not kept alive."""
    alive = _weakly(act)

    def ending() -> None:
        _endings.discard(ending)
        if (method := alive()) is not None:
            method()

    _endings.add(ending)
    widget.destroyed.connect(ending)


def connect_while_alive(widget: QObject, emitter: Any, callback: Callable[..., Any]) -> None:
    """Call `callback` on napari's `emitter` until `widget` is destroyed.

    napari drops a callback when the Python object goes; Qt may destroy the widget long before, and a call to it fails.
    """
    emitter.connect(callback)
    alive = _weakly(callback)
    when_destroyed(widget, lambda: _disconnect(emitter, alive()))


def _disconnect(emitter: Any, callback: Callable[..., Any] | None) -> None:
    if callback is not None:
        with suppress(AttributeError):  # viewer and widget are collected together, and the emitter may be emptied first
            emitter.disconnect(callback)


def listen_while_alive(widget: QObject, callbacks: list[Any], callback: Callable[..., Any]) -> None:
    """Keep `callback` in napari's list of mouse `callbacks` until `widget` is destroyed."""
    callbacks.append(callback)
    when_destroyed(widget, lambda: callbacks.remove(callback) if callback in callbacks else None)


def _weakly(act: Callable[..., Any]) -> Callable[[], Callable[..., Any] | None]:
    """Return what returns `act`, of a method None once its object is gone."""
    return WeakMethod(act) if ismethod(act) else lambda: act
