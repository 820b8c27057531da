"""A look at the labelled images before training: how many of each class are in each part, what cannot be used, what to know."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.humanize import count, sentence
from napari_sdmae.widgets.base.number_table import NumbersTable
from napari_sdmae.widgets.base.text import Banner
from napari_sdmae.widgets.finetune.readiness import FoundLabels
from napari_sdmae.widgets.runs.preflight import BasePreflight, device_line
from napari_sdmae.widgets.worker_client import Failure, QueryWorker

PARTS = {"train": "train", "validation": "select", "test": "test"}
SINGLE = "single images were kept apart"
"""In a warning: what was to be kept together could not be."""


class LabelledPreflight(BasePreflight):
    """Asks the query worker to look at the labelled images; never blocks, and drops what became stale."""

    def __init__(self, worker: QueryWorker, parent: QWidget | None = None) -> None:
        super().__init__(worker, parent)
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
            self._worker.forget(self, "inspect_labelled")  # an answer about other images must not be taken for one about these
            self._become(checking=True)
            self._timer.start()

    def _ask(self) -> None:
        assert self._config is not None
        question = {"kind": "inspect_labelled", "settings": self._config.model_dump(mode="json")}
        self._worker.ask(question, self._inspected, self._failed, user=self, purpose="inspect_labelled")

    def _inspected(self, answer: dict[str, Any]) -> None:
        if answer["problem"]:
            self._become(checking=False, failed=sentence(answer["problem"]))
            return
        self.unusable = [(str(file), str(reason)) for file, reason in answer["unusable"]]
        images = {part: int(answer["parts"][part]["images"]) for part in PARTS}
        self._become(checking=False, found=FoundLabels(**images, unusable=len(self.unusable)), answer=answer)
        if self._devices is None:
            self._worker.ask({"kind": "devices"}, self._know_devices, lambda failure: None, user=self, purpose="devices")

    def _failed(self, failure: Failure) -> None:
        self._asked = {}
        self._become(checking=False, failed=failure.line)

    def _become(
        self, *, checking: bool, found: FoundLabels | None = None, failed: str = "", answer: dict[str, Any] | None = None
    ) -> None:
        self.checking, self.found, self.failed = checking, found, failed
        self.summary.setText("Looking at the labelled images…" if checking else failed or (summary(answer) if answer else ""))
        self.summary.setVisible(bool(self.summary.text()))
        self.numbers.show_texts(amounts(answer) if answer else {})
        self.warning.show_text("\n".join(sentence(line) for line in answer["warnings"]) if answer else "")
        self.list_button.setVisible(bool(found and found.unusable))
        self._show_device()
        self.changed.emit()

    def _know_devices(self, answer: dict[str, Any]) -> None:
        self._devices = answer
        self._show_device()

    def _show_device(self) -> None:
        known = self._devices is not None and self._config is not None and self.found is not None
        self.device_note.setText(device_line(self._devices, self._config.device) if known else "")  # type: ignore[arg-type, union-attr]
        self.device_note.setVisible(known)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.summary, self.numbers, self.warning, self.list_button, self.device_note):
            column.addWidget(widget)


def summary(answer: dict[str, Any]) -> str:
    """Return what was found, in words."""
    unusable = len(answer["unusable"])
    lines = [f"{answer['images']:,} labelled images" + (f", {unusable:,} more cannot be used" if unusable else "")]
    parts = ", ".join(f"{answer['parts'][part]['images']:,} to {words}" for part, words in PARTS.items())
    together = answer["grouped_by"] and not any(SINGLE in line for line in answer["warnings"])
    lines.append(parts + (f"; each {answer['grouped_by']} on one side" if together else ""))
    scale = answer["mpp"]
    low, high = scale["smallest"], scale["largest"]
    known = (
        "unknown" if low is None else f"{low:.3g} µm/px" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g} µm/px"
    )
    lines.append(f"Scale: {known}" + (f", of {scale['unknown']:,} images unknown" if scale["unknown"] and low else ""))
    return "\n".join([*lines, f"{sentence(answer['amount'])} of each class:"])


def amounts(answer: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return how much of each class is in each part: pixels, objects or images."""
    parts = [(words, answer["parts"][part]["amounts"]) for part, words in PARTS.items()]
    return {one["name"]: {words: count(given[one["name"]]) for words, given in parts} for one in answer["classes"]}
