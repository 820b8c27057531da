"""A look at the images before training: what was found, what cannot be used, and tiles as the model will see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.tiles.inspect import Inspection
from napari_sdmae.humanize import sentence, several
from napari_sdmae.runs.preflight import ContactSheet, MemoryNeed
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.pretrain.readiness import Found
from napari_sdmae.widgets.runs.contact_sheet import Picture, contact_sheet
from napari_sdmae.widgets.runs.preflight import BasePreflight, device_line
from napari_sdmae.widgets.worker_client import QueryWorker
from napari_sdmae.worker.protocol import (
    ContactSheetRequest,
    DevicesRequest,
    DevicesResult,
    InspectRequest,
    TrainingMemoryRequest,
    WorkerError,
)

TILES = 8
IMAGES = ("data", "tiles")
MEMORY = ("model", "loss", "batch_size", "micro_batch", "mask_ratio", "device", "precision")
"""Settings on which the two results depend: changing another submits nothing."""
SHEET = (*IMAGES, "model", "mask_ratio", "augmentation", "seed")
"""Settings on which the contact sheet depends."""


class Preflight(BasePreflight):
    """Asks the query worker to look at the images, and what training needs; never blocks, and drops what became stale.

    Notes
    -----
    ``tiles_at_once_chosen(int)`` when a person takes the number of tiles that fit into memory.
    """

    tiles_at_once_chosen = Signal(int)

    def __init__(self, worker: QueryWorker, parent: QWidget | None = None) -> None:
        super().__init__(worker, parent)
        self._timer.timeout.connect(self._ask)
        self._config: PretrainConfig | None = None
        self._estimated: dict[str, Any] = {}
        self._draw = 0
        self._drawn: dict[str, Any] = {}
        self.found: Found | None = None
        self.sheet_button = QPushButton("Show masked tiles", self)
        self.sheet_button.setToolTip("A contact sheet: tiles as the model will see them, augmented and masked.")
        self.sheet = Picture(self)
        self.sheet_note = text_label(parent=self)
        self.memory_note = text_label(parent=self)
        self._fitting = 0
        self.fit_button = QPushButton(self)
        self.fit_button.setToolTip("Compute each batch in parts that fit into memory: the same result, a little slower.")
        self._lay_out()
        self._show()

    def check(self, config: PretrainConfig | None) -> None:
        """Look at the images of `config`, soon; None when there is nothing to look at."""
        self._config = config
        if config is None or not config.data.is_dir():
            self._timer.stop()
            self._forget_sheet()
            self._worker.forget(self, "inspect")
            self._asked = {}
            self._become(checking=False, found=None)
            return
        self._show()
        relevant = _chosen(config, IMAGES)
        if _chosen(config, SHEET) != self._drawn:
            self._forget_sheet()
        if relevant != self._asked:
            self._asked = relevant
            self._worker.forget(self, "inspect")  # a result about other images must not be taken for one about these
            self._become(checking=True, found=None)
            self._timer.start()
        elif self.found is not None and _chosen(config, MEMORY) != self._estimated:
            self._forget_memory()
            self._show()
            self._timer.start()

    def show_sheet(self) -> None:
        """Draw a contact sheet; every press draws other tiles changed otherwise."""
        if self._config is None:
            return
        self.sheet_button.setEnabled(False)
        self.sheet_note.setText("Drawing tiles…")
        request = ContactSheetRequest(self._config, TILES, self._draw)
        self._draw += 1
        self._drawn = _chosen(self._config, SHEET)
        self._worker.submit(request, self._show_sheet, self._sheet_failed, user=self, purpose="contact_sheet")

    def _ask(self) -> None:
        assert self._config is not None
        if self.found is not None:
            self._ask_memory()
            return
        self._worker.submit(InspectRequest(self._config), self._inspected, self._failed, user=self, purpose="inspect")

    def _inspected(self, inspection: Inspection) -> None:
        self.unusable = inspection.unusable
        found = Found(inspection.images, len(self.unusable), inspection.tiles)
        self._become(checking=False, found=found, summary=inspection.summary())
        if self._devices is None:
            self._worker.submit(DevicesRequest(), self._show_devices, lambda _: None, user=self, purpose="devices")
        self._ask_memory()

    def _ask_memory(self) -> None:
        """Ask what training needs; after the images, as the worker must load torch for it."""
        assert self._config is not None
        assert self.found is not None
        self._estimated = _chosen(self._config, MEMORY)
        request = TrainingMemoryRequest(self._config, self.found.tiles or None)
        self._worker.submit(request, self._show_memory, self._memory_failed, user=self, purpose="training_memory")

    def _show_memory(self, result: MemoryNeed) -> None:
        self.memory_note.setText(sentence(result.line))
        self._fitting = result.tiles_at_once if result.needed > result.free else 0
        self.fit_button.setText(f"Use {several(self._fitting, 'tile', 'tiles')} at once")
        self._show()

    def _memory_failed(self, failure: WorkerError) -> None:
        self._forget_memory()
        self.memory_note.setText(sentence(failure.line))
        self._show()

    def _forget_memory(self) -> None:
        """Show no need of memory, and await none: it is of other settings."""
        self._worker.forget(self, "training_memory")
        self.memory_note.setText("")
        self._fitting = 0

    def _failed(self, failure: WorkerError) -> None:
        self._asked = {}
        self._become(checking=False, found=None, failed=sentence(failure.line))

    def _become(self, *, checking: bool, found: Found | None, failed: str = "", summary: str = "") -> None:
        self.checking, self.found, self.failed = checking, found, failed
        self.summary.setText("Checking the images…" if checking else failed or summary)
        if found is None:
            self._forget_memory()
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        self.summary.setVisible(bool(self.summary.text()))
        self.memory_note.setVisible(bool(self.memory_note.text()))
        self.fit_button.setVisible(self._fitting > 0)
        self.device_note.setVisible(self._devices is not None and self.found is not None)
        if self._devices is not None and self._config is not None:
            self.device_note.setText(device_line(self._devices, self._config.device))
        self.list_button.setVisible(bool(self.found and self.found.unusable))
        self.sheet_button.setVisible(bool(self.found and self.found.tiles))
        if not self.found:
            self.sheet.show_array(None)
            self.sheet_note.setText("")
        self.sheet_note.setVisible(bool(self.sheet_note.text()))

    def _show_devices(self, devices: DevicesResult) -> None:
        self._devices = devices
        self._show()

    def _show_sheet(self, result: ContactSheet) -> None:
        self.sheet_button.setEnabled(True)
        self.sheet_button.setText("Show other tiles")
        if not self.found:
            return
        self.sheet.show_array(contact_sheet(result.tiles, result.masked))
        self.sheet_note.setText(f"{result.tile_size} px tiles; below each, the part the model sees.")
        self._show()

    def _forget_sheet(self) -> None:
        """Show no tiles, and await none: they would be drawn otherwise now."""
        self._worker.forget(self, "contact_sheet")
        self._drawn = {}
        self.sheet_button.setEnabled(True)
        self.sheet.show_array(None)
        self.sheet_note.setText("")
        self._show()

    def _sheet_failed(self, failure: WorkerError) -> None:
        self.sheet_button.setEnabled(True)
        self.sheet_note.setText(sentence(failure.line))
        self._show()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.list_button)
        buttons.addWidget(self.sheet_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.summary)
        column.addWidget(self.device_note)
        column.addWidget(self.memory_note)
        column.addWidget(self.fit_button)
        column.addLayout(buttons)
        column.addWidget(self.sheet)
        column.addWidget(self.sheet_note)
        self.sheet_button.clicked.connect(self.show_sheet)
        self.fit_button.clicked.connect(lambda: self.tiles_at_once_chosen.emit(self._fitting))


def _chosen(config: PretrainConfig, names: Sequence[str]) -> dict[str, Any]:
    """Return the settings `names` of `config`, to see whether they changed."""
    return {name: getattr(config, name) for name in names}
