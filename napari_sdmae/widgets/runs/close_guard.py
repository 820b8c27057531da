"""Asks what to do with a run that trains while napari is closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox, QWidget

Answer = Literal["run", "stop", "stay"]


def ask_before_closing(window: QWidget, run: str, widget: str = "Pre-train") -> Answer:
    """Ask whether the job of `run`, shown by the dock `widget`, goes on, stops and keeps its model, or napari stays open."""
    box = QMessageBox(window)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("A run is training")
    box.setText(f"The run {run} is training.")
    box.setInformativeText(f"Training can continue without napari; {widget} shows the run again next time.")
    go_on = box.addButton("Keep training", QMessageBox.ButtonRole.AcceptRole)
    stop = box.addButton("Stop and keep", QMessageBox.ButtonRole.DestructiveRole)
    stay = box.addButton("Keep napari open", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(go_on)
    box.setEscapeButton(stay)
    box.exec()
    pressed = box.clickedButton()
    return "run" if pressed is go_on else "stop" if pressed is stop else "stay"


class CloseGuard(QObject):
    """Watches the viewer's window for its closing; ``decide`` returns whether it may close."""

    def __init__(self, decide: Callable[[], bool], parent: QObject) -> None:
        super().__init__(parent)
        self._decide = decide
        self._window: QWidget | None = None

    def watch(self, window: QWidget) -> None:
        """Guard `window` from now on, instead of another."""
        if window is self._window:
            return
        if self._window is not None:
            self._window.removeEventFilter(self)
        self._window = window
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hold back the closing of the window when it may not close."""
        if event.type() == QEvent.Type.Close and watched is self._window and not self._decide():
            event.ignore()
            return True
        return False
