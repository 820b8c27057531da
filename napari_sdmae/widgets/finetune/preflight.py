"""A look at the labelled images before training: how many of each class are in each part, what cannot be used, what to know."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sdmae.config.finetune import FinetuneConfig, Part
from napari_sdmae.data.labelled.inspect import LabelledInspection, ScaleRange
from napari_sdmae.humanize import count, sentence, several
from napari_sdmae.widgets.base.text import Banner
from napari_sdmae.widgets.finetune.number_table import NumbersTable
from napari_sdmae.widgets.finetune.readiness import FoundLabels
from napari_sdmae.widgets.runs.preflight import BasePreflight, device_line
from napari_sdmae.widgets.worker_client import QueryWorker
from napari_sdmae.worker.protocol import DevicesRequest, DevicesResult, ErrorCode, InspectLabelledRequest, WorkerError

PARTS: dict[Part, str] = {"train": "training", "validation": "validation", "test": "test"}


class LabelledPreflight(BasePreflight):
    """Asks the query worker to look at the labelled images; never blocks, and drops what became stale."""

    def __init__(self, worker: QueryWorker, parent: QWidget | None = None) -> None:
        super().__init__(worker, parent)
        self._timer.timeout.connect(self._ask)
        self._config: FinetuneConfig | None = None
        self.found: FoundLabels | None = None
        self.numbers = NumbersTable(self)
        self.warning = Banner("warning", self)
        self._lay_out()
        self._become(checking=False)

    def check(self, config: FinetuneConfig | None) -> None:
        """Look at the labelled images of `config`, soon; None when there is nothing to look at."""
        self._config = config
        if config is None or not config.data.exists():
            self._timer.stop()
            self._worker.forget(self, "inspect_labelled")
            self._asked = {}
            self._become(checking=False)
            return
        self._show_device()
        relevant = {name: getattr(config, name) for name in ("task", "data", "labels", "image_mpp", "seed")}
        if relevant != self._asked:
            self._asked = relevant
            self._worker.forget(self, "inspect_labelled")  # a result about other images must not be taken for one about these
            self._become(checking=True)
            self._timer.start()

    def _ask(self) -> None:
        assert self._config is not None
        request = InspectLabelledRequest(self._config)
        self._worker.submit(request, self._inspected, self._failed, user=self, purpose="inspect_labelled")

    def _inspected(self, found: LabelledInspection) -> None:
        self.unusable = list(found.unusable)
        train, validation, test = (found.parts[part].images for part in PARTS)
        self._become(checking=False, found=FoundLabels(train, validation, test, len(self.unusable)), inspection=found)
        if self._devices is None:
            self._worker.submit(DevicesRequest(), self._show_devices, lambda _: None, user=self, purpose="devices")

    def _failed(self, failure: WorkerError) -> None:
        if failure.code is ErrorCode.UNUSABLE_DATA:  # which stays so until other images or settings are chosen
            self._become(checking=False, failed=sentence(failure.line))
            return
        self._asked = {}
        self._become(checking=False, failed=sentence(failure.line))

    def _become(
        self,
        *,
        checking: bool,
        found: FoundLabels | None = None,
        failed: str = "",
        inspection: LabelledInspection | None = None,
    ) -> None:
        self.checking, self.found, self.failed = checking, found, failed
        self.summary.setText(
            "Checking the labelled images…" if checking else failed or (summary(inspection) if inspection else "")
        )
        self.summary.setVisible(bool(self.summary.text()))
        self.numbers.show_texts(amounts(inspection) if inspection else {})
        self.warning.show_text("\n".join(sentence(line) for line in inspection.warnings) if inspection else "")
        self.list_button.setVisible(bool(found and found.unusable))
        self._show_device()
        self.changed.emit()

    def _show_devices(self, devices: DevicesResult) -> None:
        self._devices = devices
        self._show_device()

    def _show_device(self) -> None:
        line = ""
        if self._devices is not None and self._config is not None and self.found is not None:
            line = device_line(self._devices, self._config.device)
        self.device_note.setText(line)
        self.device_note.setVisible(bool(line))

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.summary, self.numbers, self.warning, self.list_button, self.device_note):
            column.addWidget(widget)


def summary(found: LabelledInspection) -> str:
    """Return what was found, in words."""
    unusable = len(found.unusable)
    images = several(found.images, "labelled image", "labelled images")
    lines = [images + (f", {unusable:,} more cannot be used" if unusable else "")]
    parts = ", ".join(f"{found.parts[part].images:,} {words}" for part, words in PARTS.items()) + " images"
    lines.append(parts + (f"; each {found.grouped_by} on one side" if found.grouped_by else ""))
    return "\n".join([*lines, f"Scale: {_scale(found.mpp)}", f"{sentence(found.amount)} of each class:"])


def _scale(mpp: ScaleRange) -> str:
    low, high = mpp.smallest, mpp.largest
    if low is None or high is None:
        return "unknown"
    known = f"{low:.3g} µm/px" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g} µm/px"
    return known + (f", of {several(mpp.unknown, 'image', 'images')} unknown" if mpp.unknown else "")


def amounts(found: LabelledInspection) -> dict[str, dict[str, str]]:
    """Return how much of each class is in each part: pixels, objects or images."""
    parts = [(words, found.parts[part].amounts) for part, words in PARTS.items()]
    return {one.name: {words: count(given[one.name]) for words, given in parts} for one in found.classes}
