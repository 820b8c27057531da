"""The Progress page of a fine-tuning run: numbers on validation images while it runs, the report at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_sdmae.humanize import sentence
from napari_sdmae.widgets.base.text import Banner, text_label
from napari_sdmae.widgets.finetune.confusion import ConfusionMatrix
from napari_sdmae.widgets.finetune.number_table import NumbersTable
from napari_sdmae.widgets.finetune.plot import FinetunePlot
from napari_sdmae.widgets.finetune.report import Report, live_rows, read_report
from napari_sdmae.widgets.runs.progress_page import ProgressPage
from napari_sdmae.widgets.runs.view_state import RunViewState


class FinetuneProgressPage(ProgressPage):
    """Shows one run; ``segment_requested`` when its head is to be used on images."""

    segment_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        self._run: Path | None = None
        self.report: Report | None = None
        super().__init__(parent, plot=FinetunePlot(), layers="Show validation images as layers")
        self.result = text_label(parent=self)
        self.doubts = Banner("warning", self)
        self.numbers_title = text_label(parent=self)
        self.numbers = NumbersTable(self)
        self.confusion_title = text_label(parent=self)
        self.confusion = ConfusionMatrix(self)
        self.segment = QPushButton("Open in Segment", self)
        self.segment.setToolTip("Use this head on images: opens the dock widget Segment.")
        self.segment.clicked.connect(self.segment_requested)
        place = self.column.indexOf(self.plot)
        above = (self.result, self.doubts, self.segment)
        for offset, widget in enumerate(above):
            self.column.insertWidget(place + offset, widget)
        below = (self.numbers_title, self.numbers, self.confusion_title, self.confusion)
        for offset, widget in enumerate(below):
            self.column.insertWidget(place + len(above) + 1 + offset, widget)
        self._show_report(None)

    def show_run(self, run: Path) -> None:
        """Say which run is shown."""
        self._run = run
        self._show_report(None)
        self.numbers.show_rows({})
        super().show_run(run)

    def show_view(self, view: RunViewState) -> None:
        """Show how the run goes, and its report once it has one."""
        super().show_view(view)
        if self._run is not None:
            self._show_report(None if view.busy else read_report(self._run), view.warnings)
            self.segment.setVisible(not view.failed and (self._run / "model" / "config.json").is_file())

    def show_metrics(self, records: list[dict[str, Any]]) -> None:
        """Show the numbers so far."""
        super().show_metrics(records)
        if self.report is None:
            rows = live_rows(records)
            self.numbers.show_rows(rows)
            self._title(self.numbers_title, "Latest numbers on the validation images" if rows else "")

    def set_colours(self, background: str, foreground: str) -> None:
        """Draw in the colours of the viewer's theme."""
        self.plot.set_colours(background, foreground)
        self.confusion.set_colours(background, foreground)

    def _show_report(self, report: Report | None, said: tuple[str, ...] = ()) -> None:
        """Show `report`, without warnings that were `said` already; an earlier one never stays beside a run that goes on."""
        if self.report is not None and report is None:
            self.numbers.show_rows({})
            self._title(self.numbers_title, "")
        self.report = report
        shown = report or Report()
        self._title(self.result, shown.words)
        self.doubts.show_text("\n".join(sentence(line) for line in shown.warnings if line not in said))
        if report is not None:
            self.numbers.show_rows(shown.rows)
            self._title(self.numbers_title, f"Each class, on the {shown.rows_of}" if shown.rows else "")
        else:
            self.segment.hide()
        self.confusion.show_matrix(shown.confusion, shown.classes)
        self._title(self.confusion_title, f"Predicted against true class, on the {shown.rows_of}" if shown.confusion else "")

    def _title(self, label: Any, text: str) -> None:
        label.setText(text)
        label.setVisible(bool(text))
