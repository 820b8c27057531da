"""Files and folders dropped on a dock, or on a field of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QLineEdit, QWidget

DRAGS = (QEvent.Type.DragEnter, QEvent.Type.DragMove)


def accept_drop(widget: QWidget, take: Callable[[Path], None]) -> None:
    """Call `take` with the file or folder that is dropped on `widget` or on a field in it; of several, say that one is taken.

    A field of text is watched itself: Qt would write the address of what is dropped (``file:///…``) into it.
    """
    for target in (widget, *widget.findChildren(QLineEdit)):
        if not target.property(_MARK):  # a field inside keeps its own
            target.setProperty(_MARK, True)
            target.setAcceptDrops(True)
            target.installEventFilter(_Drop(target, take))


_MARK = "sdmae_drop"


class _Drop(QObject):
    def __init__(self, parent: QWidget, take: Callable[[Path], None]) -> None:
        super().__init__(parent)
        self._take = take

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or event.type() not in (*DRAGS, QEvent.Type.Drop):
            return bool(super().eventFilter(watched, event))
        paths = dropped_paths(event)
        if not paths:
            return bool(super().eventFilter(watched, event))
        _accept(event)
        if event.type() == QEvent.Type.Drop:
            self._drop(paths)
        return True

    def _drop(self, paths: list[Path]) -> None:
        if len(paths) > 1:
            show_warning(f"Drop one file or folder, not {len(paths)}.")
        else:
            self._take(paths[0])


def _accept(event: Any) -> None:
    event.acceptProposedAction()


def dropped_paths(event: Any) -> list[Path]:
    """Return the files and folders of this machine that are dragged or dropped; of text or a picture there are none."""
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def holder(path: Path) -> Path:
    """Return the folder that `path` stands for: of a file the folder it lies in."""
    return path if path.is_dir() else path.parent
