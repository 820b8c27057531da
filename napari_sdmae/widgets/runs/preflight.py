"""What both kinds of training show before they start."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_sdmae.humanize import several, size
from napari_sdmae.widgets.base.text import TextDialog, text_label
from napari_sdmae.widgets.worker_client import QueryWorker
from napari_sdmae.worker.protocol import DevicesResult

WAIT_MS = 500  # after the last change of a setting


class BasePreflight(QWidget):
    """Asks the query worker to look at the images; never blocks, and drops what became stale.

    A subclass connects its request to the timer, which waits until the settings rest.

    Notes
    -----
    ``changed()`` when :attr:`checking`, :attr:`failed` or what was found changed.
    """

    changed = Signal()

    def __init__(self, worker: QueryWorker, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._worker = worker
        self._asked: dict[str, Any] = {}
        self._devices: DevicesResult | None = None
        self.checking = False
        self.failed = ""
        self.unusable: list[tuple[str, str]] = []
        self.summary = text_label(parent=self)
        self.list_button = QPushButton("Which files, and why…", self)
        self.list_button.clicked.connect(self.show_unusable)
        self.device_note = text_label(parent=self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WAIT_MS)

    def show_unusable(self) -> None:
        """List the files that cannot be used."""
        text = "\n".join(f"{file}: {reason}" for file, reason in self.unusable)
        TextDialog("Files that cannot be used", text, self).exec()


def device_line(devices: DevicesResult, wanted: str) -> str:
    """Return on what a run with device `wanted` trains, or that there is no such device."""
    name = devices.default if wanted == "auto" else wanted
    device = next((one for one in devices.devices if one.device == name), None)
    if device is None:
        return f"Device: this machine has no {name}; choose another."
    words = [name] if device.name.lower() in ("", name) else [name, device.name]
    if name == "cpu":
        words.append(several(devices.threads, "thread", "threads"))
    elif device.memory:
        words.append(f"{size(device.memory)} memory")
    return "Device: " + ", ".join(words)
