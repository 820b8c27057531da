"""The live plot of a fine-tuning run: the training loss, and the number on validation images that selects the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtWidgets import QWidget

from napari_sdmae.config.selecting import OF_ONE_CLASS, SELECTING
from napari_sdmae.humanize import plain
from napari_sdmae.widgets.runs.loss_plot import LossPlot

CURVES = {"total": ("training loss", "#56B4E9"), "validation": ("validation (right)", "#E69F00")}


def metric_written(records: Sequence[dict[str, Any]]) -> str:
    """Return which number on validation images selects, as far as the records of metrics.jsonl have one; else an empty text."""
    written = {name.removeprefix("validation/") for record in records for name in record if name.startswith("validation/")}
    return next((name for name in (*SELECTING.values(), OF_ONE_CLASS) if name in written), "")


def with_validation(records: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return the records with the validation number `metric` as ``validation``, where they have it."""
    key = f"validation/{metric}"
    return [record | {"validation": record[key]} if key in record else record for record in records]


def best_epoch(records: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    """Return epoch and value of the highest ``validation``; of equal ones the last, as the run keeps it."""
    measured = [(float(record["epoch"]), float(record["validation"])) for record in records if "validation" in record]
    return max(measured, key=lambda one: (one[1], one[0]), default=None)


class FinetunePlot(LossPlot):
    """Draws the loss on the left, the validation number on the right, and a star on the epoch that is kept."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, names=CURVES, second="validation")
        (self.star,) = self.information.plot([], [], "*", color="#F0E442", markersize=13, markeredgecolor="#806000", zorder=5)
        self.star.set_label("epoch kept")
        self.legend.remove()
        handles = [*(bold for _, bold in self.lines.values()), self.star]
        self.legend = self.figure.legend(handles=handles, loc="upper center", fontsize=7, frameon=False, markerscale=0.6)
        self.figure.subplots_adjust(left=0.24, right=0.87, top=0.78)  # room for losses such as 1.385, and for three lines
        self.metric = ""

    def show_records(self, records: Sequence[dict[str, Any]]) -> None:
        """Show the whole history `records`, soon."""
        self.metric = metric_written(records)
        super().show_records(with_validation(records, self.metric))

    def draw(self) -> None:
        """Draw what waits to be drawn."""
        best = best_epoch(self._waiting)
        self.star.set_data(*(np.array([value]) for value in best) if best else ([], []))
        words = f"{plain(self.metric)}, validation (right)" if self.metric else CURVES["validation"][0]
        kept = f"epoch {best[0]:g} is kept" if best else "epoch kept"
        for text, said in zip(self.legend.get_texts()[1:], (words, kept), strict=True):
            text.set_text(said)
        super().draw()
