"""A dock widget that trains: a new run, its progress, and the runs there are."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QMessageBox, QTabWidget, QVBoxLayout, QWidget

from napari_sdmae.runs.folder import RunFolder, RunFolderError
from napari_sdmae.runs.kind import NAMES, Kind, run_kind
from napari_sdmae.widgets.base import preferences
from napari_sdmae.widgets.base.folders import free_folder
from napari_sdmae.widgets.base.lifetime import connect_while_alive
from napari_sdmae.widgets.base.text import TextDialog, scrolling
from napari_sdmae.widgets.runs.close_guard import CloseGuard, ask_before_closing
from napari_sdmae.widgets.runs.new_run_page import NewRunPage
from napari_sdmae.widgets.runs.preview_layers import PreviewLayers
from napari_sdmae.widgets.runs.progress_page import ProgressPage
from napari_sdmae.widgets.runs.run_list import RunList
from napari_sdmae.widgets.runs.view_state import RunViewState
from napari_sdmae.widgets.runs.watcher import RunWatcher

QUESTIONS = {
    "cancel": ("Cancel the run", "Cancel the run? What it learned since its last checkpoint is lost."),
    "take_over": (
        "Take over the run",
        "This computer cannot check whether the run is still training elsewhere. Check there first. If the job is still "
        "running, it will stop without saving. Take over?",
    ),
}


class TrainingDock(QWidget):
    """Connects the three pages with the watched run, the viewer's layers, and what is remembered.

    Parameters
    ----------
    napari_viewer
        The viewer that shows the previews.
    kind
        What its runs are.
    page
        Everything before a run.
    monitor
        Shows the progress of one.
    """

    def __init__(self, napari_viewer: Any, kind: Kind, page: NewRunPage, monitor: ProgressPage) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.kind: Kind = kind
        self.watcher = RunWatcher(self)
        self.previews = PreviewLayers(napari_viewer)
        self.new_run: Any = page
        self.monitor: Any = monitor
        self.runs = RunList(kind, self)
        self.tabs = QTabWidget(self)
        self.guard = CloseGuard(self.may_close, self)
        self._lay_out()
        self._connect()
        self._restore()
        self._follow_theme()

    def attach(self, run: Path) -> None:
        """Watch the run in `run`, wherever it trains, and show its progress."""
        if reason := _no_run(run):
            QMessageBox.information(self, "Not a run folder", reason)
            return
        kind = run_kind(run)
        if kind not in (None, self.kind):
            reason = f"{run.name} is a run of {NAMES[kind][0]}. Open it in the dock widget {NAMES[kind][1]}."
            QMessageBox.information(self, "Another kind of run", reason)
            return
        self.watcher.attach(run)
        self.tabs.setCurrentIndex(1)

    def start(self, command: list[str], run: Path) -> None:
        """Start the job `command` and show its progress."""
        try:
            self.watcher.start(command, run)
        except OSError as error:
            self.new_run.failure.show_text(f"The job could not be started: {error}")
            return
        self.new_run.failure.show_text("")
        self._remember_settings()
        self.tabs.setCurrentIndex(1)

    def act(self, action: Any) -> None:
        """Pass on what a person asks of the run; cancelling and taking over are asked once more."""
        if self._is_meant(action):
            self._pass_on(action)

    def may_close(self) -> bool:
        """Ask what happens with a run that trains on this machine; return whether napari may close."""
        folder = self.watcher.folder
        if folder is None or not self.watcher.live:
            return True
        status = folder.status()
        if status is not None and status.host != platform.node():
            return True
        answer = ask_before_closing(self.window(), folder.path.name, NAMES[self.kind][1])
        return self._pass_on("stop") if answer == "stop" else answer != "stay"

    def show_log(self) -> TextDialog:
        """Open the full log of the run in a window."""
        dialog = TextDialog(f"Log of {self.monitor.name.text()}", self.watcher.log() or "The log is empty.", self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()
        return dialog

    def showEvent(self, event: QShowEvent) -> None:
        """Guard the window the widget is shown in."""
        super().showEvent(event)
        window = self.window()
        if window is not self:
            self.guard.watch(window)

    def show_view(self, view: RunViewState) -> None:
        """Show how the run goes."""
        self.monitor.show_view(view)
        self.new_run.set_run_live(view.busy)
        self.previews.mark_failed(view.failed)
        if not view.busy:
            self.runs.refresh()

    def show_attached(self, run: Path) -> None:
        """Show the run in `run`, which is watched from now on."""
        preferences.remember(f"{self.kind}.run", str(run))
        self.previews.attach(run)
        self.monitor.show_run(run)
        self.monitor.command.show_command(self.watcher.command_line())

    def layers_folder(self, name: str) -> Path:
        """Return a folder beside the runs for what is written of the layer `name`."""
        return free_folder(self.new_run.output.get() or preferences.output_folder(), name, "layers", ending="-sources")

    def follow_theme(self, background: str, foreground: str) -> None:
        """Draw in the colours of the viewer's theme."""
        self.monitor.plot.set_colours(background, foreground)

    def _show_preview(self, preview: Path) -> None:
        if self.monitor.layers.isChecked():
            self.previews.show(preview)
            self.previews.mark_failed(self.watcher.view.failed)

    def _want_layers(self, wanted: bool) -> None:
        folder = self.watcher.folder
        newest = folder.previews()[-1:] if folder and wanted else []
        for preview in newest:
            self._show_preview(preview)

    def _pass_on(self, action: Any) -> bool:
        """Tell the run what is wanted of it; return whether it could be reached."""
        try:
            self.watcher.act(action)
        except (OSError, RunFolderError) as error:
            self.monitor.error.show_text(f"The run could not be reached: {error}")
            self.tabs.setCurrentIndex(1)
            return False
        return True

    def _is_meant(self, action: str) -> bool:
        if action not in QUESTIONS:
            return True
        title, question = QUESTIONS[action]
        return bool(QMessageBox.question(self, title, question) == QMessageBox.StandardButton.Yes)

    def _restore(self) -> None:
        """Show what was used last, and the run that was watched last."""
        output = preferences.remembered(f"{self.kind}.output", str(preferences.output_folder() / "runs"))
        self.new_run.output.set(Path(output))
        values, preset = preferences.remembered(f"{self.kind}.settings", {}), preferences.remembered(f"{self.kind}.preset", "")
        with suppress(ValueError):  # nothing remembered, or by another version
            self.new_run.restore(values, preset)
        self.runs.show_runs(self.new_run.output.get() or Path())
        last = preferences.remembered(f"{self.kind}.run", "")
        if last and RunFolder(last).status() is not None:
            self.attach(Path(last))
            self.tabs.setCurrentIndex(1 if self.watcher.live else 0)

    def _remember_settings(self) -> None:
        if self.new_run.config is not None:
            preferences.remember(f"{self.kind}.settings", self.new_run.config.model_dump(mode="json"))
        preferences.remember(f"{self.kind}.preset", self.new_run.preset.get())
        preferences.remember(f"{self.kind}.output", str(self.new_run.output.get()))

    def _follow_theme(self, _event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        self.follow_theme(theme.background.as_hex(), theme.text.as_hex())

    def _connect(self) -> None:
        self.watcher.attached.connect(self.show_attached)
        self.watcher.changed.connect(self.show_view)
        self.watcher.metrics_changed.connect(self.monitor.show_metrics)
        self.watcher.preview_written.connect(self._show_preview)
        self.new_run.start_requested.connect(self.start)
        self.new_run.output.edited.connect(lambda: self.runs.show_runs(self.new_run.output.get() or Path()))
        self.monitor.action_requested.connect(self.act)
        self.monitor.log_requested.connect(self.show_log)
        self.monitor.layers_wanted.connect(self._want_layers)
        self.runs.run_chosen.connect(self.attach)
        self.tabs.currentChanged.connect(lambda page: self.runs.refresh() if page == 2 else None)
        connect_while_alive(self, self.viewer.events.theme, self._follow_theme)

    def _lay_out(self) -> None:
        self.tabs.setStyleSheet("QTabBar::tab { padding: 6px 10px; }")  # napari's own padding cuts the letters
        for title, page in (("New run", self.new_run), ("Progress", scrolling(self.monitor)), ("Runs", scrolling(self.runs))):
            self.tabs.addTab(page, title)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.tabs)


def _no_run(run: Path) -> str:
    """Return why there is no run to watch in `run`, in words; empty where there is one."""
    try:
        status = RunFolder(run).read_status()
    except RunFolderError as error:
        return f"The run cannot be read: {error}"
    return "" if status else f"{run} holds no run: it has no status.json. Choose the folder of one run."
