"""The Progress page: a run's state in words, what it may be asked, its loss curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_sdmae.humanize import sentence
from napari_sdmae.widgets.base.collapsible import CollapsibleSection
from napari_sdmae.widgets.base.text import Banner, CommandLine, text_label
from napari_sdmae.widgets.runs.loss_plot import LossPlot
from napari_sdmae.widgets.runs.view_state import Action, RunViewState

_ACTIONS: dict[Action, tuple[str, str]] = {
    "stop": ("Stop and keep", "Finish this step, save, and keep a usable model. The run can be resumed."),
    "pause": ("Pause", "Save and free the device. Resume continues exactly where the run was."),
    "cancel": ("Cancel…", "End now, without saving what came after the last checkpoint."),
    "resume": ("Resume", "Continue this run from its last checkpoint."),
    "take_over": (
        "Take over…",
        "Continue this run here from its last checkpoint. If its job is still running, it stops.",
    ),
}


class ProgressPage(QWidget):
    """Shows one run. It decides nothing: ``action_requested`` says which button was pressed.

    Parameters
    ----------
    plot
        Draws its records; by default the losses of pre-training.
    layers
        What showing the previews as layers is called.

    Notes
    -----
    Signals: ``action_requested(str)``: stop, pause, cancel, resume or take_over; ``log_requested()``;
    ``layers_wanted(bool)`` when showing the probe tiles as layers is switched.
    """

    action_requested = Signal(str)
    log_requested = Signal()
    layers_wanted = Signal(bool)

    def __init__(
        self, parent: QWidget | None = None, *, plot: LossPlot | None = None, layers: str = "Show probe tiles as layers"
    ) -> None:
        super().__init__(parent)
        self.name = QLabel("", self)
        self.headline = text_label("No run yet. Start one in New run, or open one in Runs.", self)
        self.headline.setStyleSheet("font-weight: bold;")
        self.bar = QProgressBar(self)
        self.details = text_label(parent=self)
        self.error = Banner("error", self)
        self.warning = Banner("warning", self)
        self.buttons = {action: self._button(action) for action in _ACTIONS}
        self.log = QPushButton("Show full log…", self)
        self.log.clicked.connect(self.log_requested)
        self.plot = plot or LossPlot(self)
        self.layers = QCheckBox(layers, self)
        self.layers.setChecked(True)
        self.layers.toggled.connect(self.layers_wanted)
        self.command = CommandLine(self)
        self._lay_out()
        self.show_view(RunViewState(self.headline.text()))

    def show_run(self, run: Path) -> None:
        """Say which run is shown."""
        self.name.setText(run.name)
        self.name.setToolTip(str(run))
        self.log.show()

    def show_view(self, view: RunViewState) -> None:
        """Show how the run goes."""
        self.headline.setText(view.headline)
        self.details.setText(view.details)
        self.details.setVisible(bool(view.details))
        self.error.show_text(view.error)
        self.warning.show_text("\n".join(map(sentence, view.warnings)))
        self._show_progress(view)
        for action, button in self.buttons.items():
            button.setEnabled(action in view.actions)
            button.setVisible(action in view.actions or (action not in ("resume", "take_over") and view.busy))

    def show_metrics(self, records: list[dict[str, Any]]) -> None:
        """Show the losses so far; without any, no empty axes."""
        self.plot.setVisible(bool(records))
        self.plot.show_records(records)

    def _show_progress(self, view: RunViewState) -> None:
        self.bar.setVisible(view.busy or view.progress is not None)
        unknown = view.progress is None
        self.bar.setRange(0, 0 if unknown else 1000)
        if view.progress is not None:
            self.bar.setValue(round(1000 * view.progress))

    def _button(self, action: Action) -> QPushButton:
        title, tip = _ACTIONS[action]
        button = QPushButton(title, self)
        button.setToolTip(tip)
        button.clicked.connect(lambda: self.action_requested.emit(action))
        return button

    def _lay_out(self) -> None:
        buttons = QGridLayout()
        places = {"stop": (0, 0, 1, 2), "pause": (1, 0), "cancel": (1, 1), "resume": (2, 0, 1, 2), "take_over": (3, 0, 1, 2)}
        for action, button in self.buttons.items():
            buttons.addWidget(button, *places[action])
        self.column = column = QVBoxLayout(self)
        for widget in (self.name, self.headline, self.error, self.warning, self.bar, self.details):
            column.addWidget(widget)
        column.addLayout(buttons)
        for widget in (self.plot, self.layers, self.log, CollapsibleSection("Command", self.command, parent=self)):
            column.addWidget(widget)
        column.addStretch()
        self.log.hide()
        self.plot.hide()
