"""Connections from the viewer to a widget that end with the widget."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject


def connect_while_alive(widget: QObject, emitter: Any, callback: Callable[..., Any]) -> None:
    """Call `callback` on napari's `emitter` until `widget` is destroyed.

    napari drops a callback when the Python object goes; Qt may destroy the widget long before, and a call to it fails.
    """
    emitter.connect(callback)
    widget.destroyed.connect(lambda: _disconnect(emitter, callback))


def _disconnect(emitter: Any, callback: Callable[..., Any]) -> None:
    with suppress(AttributeError):  # viewer and widget are collected together, and the emitter may be emptied first
        emitter.disconnect(callback)


def listen_while_alive(widget: QObject, callbacks: list[Any], callback: Callable[..., Any]) -> None:
    """Keep `callback` in napari's list of mouse `callbacks` until `widget` is destroyed."""
    callbacks.append(callback)
    widget.destroyed.connect(lambda: callbacks.remove(callback) if callback in callbacks else None)
