"""The Pre-train dock widget: a new run, its progress, and the runs there are."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QMessageBox, QTabWidget, QVBoxLayout, QWidget

from napari_sdmae.config import DEFAULT_PRESET, PretrainConfig
from napari_sdmae.training.run_folder import RunFolder
from napari_sdmae.widgets import _settings
from napari_sdmae.widgets._close_guard import CloseGuard, ask_before_closing
from napari_sdmae.widgets._events import connect_while_alive
from napari_sdmae.widgets._new_run import NewRunPage
from napari_sdmae.widgets._notes import TextDialog, scrolling
from napari_sdmae.widgets._preview_layers import PreviewLayers
from napari_sdmae.widgets._query import QueryWorker, query_worker
from napari_sdmae.widgets._run_list import RunList
from napari_sdmae.widgets._run_monitor import RunMonitor
from napari_sdmae.widgets._run_state import RunView
from napari_sdmae.widgets._run_watcher import RunWatcher


class PretrainWidget(QWidget):
    """Connects the three pages with the watched run, the viewer's layers, and what is remembered.

    Parameters
    ----------
    napari_viewer
        The viewer that shows the probe tiles.
    worker
        Who answers questions about the images; by default the one of this viewer process.
    """

    def __init__(self, napari_viewer: Any, worker: QueryWorker | None = None) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.watcher = RunWatcher(self)
        self.previews = PreviewLayers(napari_viewer)
        self.new_run = NewRunPage(worker or query_worker(), self)
        self.monitor = RunMonitor(self)
        self.runs = RunList(self)
        self.tabs = QTabWidget(self)
        self.guard = CloseGuard(self.may_close, self)
        self._lay_out()
        self._connect()
        self._restore()
        self._follow_theme()

    def attach(self, run: Path) -> None:
        """Watch the run in `run`, wherever it trains, and show its progress."""
        if RunFolder(run).status() is None:
            reason = f"{run} holds no run: it has no status.json. Choose the folder of one run."
            QMessageBox.information(self, "Not a run folder", reason)
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
        """Pass on what a person asks of the run; cancelling is asked once more."""
        if action != "cancel" or self._really_cancel():
            try:
                self.watcher.act(action)
            except OSError as error:
                self.monitor.error.show_text(f"The run could not be reached: {error}")

    def may_close(self) -> bool:
        """Ask what happens with a run that trains on this machine; return whether napari may close."""
        folder = self.watcher.folder
        if folder is None or not self.watcher.live:
            return True
        status = folder.status()
        if status is not None and status.host != platform.node():
            return True
        answer = ask_before_closing(self.window(), folder.path.name)
        if answer == "stop":
            self.watcher.act("stop")
        return answer != "stay"

    def show_log(self) -> TextDialog:
        """Open the full log of the run in a window."""
        dialog = TextDialog(f"Log of {self.monitor.name.text()}", self.watcher.log() or "Nothing was logged yet.", self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()
        return dialog

    def showEvent(self, event: QShowEvent) -> None:
        """Guard the window the widget is shown in."""
        super().showEvent(event)
        window = self.window()
        if window is not self:
            self.guard.watch(window)

    def _show_view(self, view: RunView) -> None:
        self.monitor.show_view(view)
        self.new_run.set_run_live(view.busy)
        self.previews.mark_failed(view.failed)
        if not view.busy:
            self.runs.refresh()

    def _show_attached(self, run: Path) -> None:
        _settings.remember("pretrain.run", str(run))
        self.previews.attach(run)
        self.monitor.show_run(run)
        self.monitor.command.show_command(self.watcher.command_line())

    def _show_preview(self, preview: Path) -> None:
        if self.monitor.layers.isChecked():
            self.previews.show(preview)
            self.previews.mark_failed(self.watcher.view.failed)

    def _want_layers(self, wanted: bool) -> None:
        folder = self.watcher.folder
        newest = folder.previews()[-1:] if folder and wanted else []
        for preview in newest:
            self._show_preview(preview)

    def _really_cancel(self) -> bool:
        question = "Cancel the run? What it learned since its last checkpoint is lost."
        return bool(QMessageBox.question(self, "Cancel the run", question) == QMessageBox.StandardButton.Yes)

    def _take_layers(self) -> None:
        selection = self.viewer.layers.selection
        chosen = [layer for layer in self.viewer.layers if layer in selection and isinstance(layer, Image)]
        if not chosen:
            self.new_run.source.refuse("No image layer is selected. Select one or more in the layer list.")
            return
        root = self.new_run.output.get() or _settings.output_folder()
        folder, number = root / f"{chosen[0].name}-sources", 2
        while folder.exists():
            folder, number = root / f"{chosen[0].name}-{number}-sources", number + 1
        self.new_run.source.take(chosen, folder)

    def _restore(self) -> None:
        """Show what was used last, and the run that was watched last."""
        self.new_run.output.set(Path(_settings.remembered("pretrain.output", str(_settings.output_folder() / "runs"))))
        try:
            config = PretrainConfig.model_validate(_settings.remembered("pretrain.settings", {}))
            self.new_run.show_settings(config, _settings.remembered("pretrain.preset", DEFAULT_PRESET))
        except ValueError:
            pass  # nothing remembered, or by another version
        self.runs.show_runs(self.new_run.output.get() or Path())
        last = _settings.remembered("pretrain.run", "")
        if last and RunFolder(last).status() is not None:
            self.attach(Path(last))
            self.tabs.setCurrentIndex(1 if self.watcher.live else 0)

    def _remember_settings(self) -> None:
        if self.new_run.config is not None:
            _settings.remember("pretrain.settings", self.new_run.config.model_dump(mode="json"))
        _settings.remember("pretrain.preset", self.new_run.preset.get())
        _settings.remember("pretrain.output", str(self.new_run.output.get()))

    def _follow_theme(self, _event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        self.monitor.plot.set_colours(theme.background.as_hex(), theme.text.as_hex())

    def _connect(self) -> None:
        self.watcher.attached.connect(self._show_attached)
        self.watcher.changed.connect(self._show_view)
        self.watcher.metrics_changed.connect(self.monitor.show_metrics)
        self.watcher.preview_written.connect(self._show_preview)
        self.new_run.start_requested.connect(self.start)
        self.new_run.source.layers_requested.connect(self._take_layers)
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
