"""Watches one run folder and tells what changed; starts, resumes and steers its job."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal

from napari_sdmae.io.regular_files import read_tail
from napari_sdmae.runs.folder import RunFolder, RunFolderError, is_alive
from napari_sdmae.runs.metrics_log import MetricsReader
from napari_sdmae.runs.status import Listener
from napari_sdmae.text.printable import printable
from napari_sdmae.widgets.canvas.command_line import shell_line
from napari_sdmae.widgets.runs.job import console_file, launch, resume_command
from napari_sdmae.widgets.runs.view_state import Action, Launch, RunViewState, Writer, describe, has_spoken, writer

LIVE_MS = 500
QUIET_MS = 2000  # a run that rests may be resumed by somebody else
OUTPUT_SHOWN = 20_000


class RunWatcher(QObject):
    """Follows the run in one folder by looking at it twice a second; no matter who started it, and where.

    Notes
    -----
    Signals: ``changed(RunViewState)`` when something to show changed, ``metrics_changed(list)`` with all records,
    ``preview_written(Path)`` with the newest preview, ``attached(Path)`` when another run is watched.
    """

    changed = Signal(object)
    metrics_changed = Signal(list)
    preview_written = Signal(object)
    attached = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder: RunFolder | None = None
        self.view = RunViewState("No run yet")
        self._metrics: MetricsReader | None = None
        self._command: list[str] = []
        self._before: Writer | None = None
        self._cancelled = False
        self._listener = Listener()
        self._process: subprocess.Popen[bytes] | None = None
        self._preview: tuple[Path, int, int] | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)

    @property
    def live(self) -> bool:
        """Whether the run is being trained now, or its process has just been started."""
        return self.view.busy

    def attach(self, run: Path) -> None:
        """Watch the run in `run` from now on."""
        ours = self._process if self.folder is not None and self.folder.path == run else None
        self._watch(run, ours, self._command if ours else [])

    def start(self, command: list[str], run: Path) -> None:
        """Start `command`, which trains into `run`, and watch it."""
        self._before, self._cancelled = writer(RunFolder(run).status()), False
        self._watch(run, launch(command, run), command)

    def act(self, action: Action) -> None:
        """Ask the job for `action` through the control file, or resume the run.

        Raises
        ------
        OSError, RunFolderError
            If the folder cannot be read or written.
        """
        if self.folder is None:
            return
        if action == "resume" or action == "take_over":  # spelt out, as mypy narrows by it
            self.start(resume_command(self.folder.path, take_over=action == "take_over"), self.folder.path)
            return
        launched = self._launch()
        if self._process and launched and launched.exit_code is None and not has_spoken(self.folder.read_status(), launched):
            self._cancelled = True
            self._process.kill()  # it does not look at the folder yet, and has nothing to save
        else:
            self.folder.ask(action)
        self.look()

    def command_line(self) -> str:
        """Return the exact command of the run: the one started here, or the one its job wrote down."""
        if self._command or self.folder is None:
            return shell_line(self._command)
        return _tail(self.folder.command).strip()

    def log(self) -> str:
        """Return all that the run and its process wrote for people."""
        if self.folder is None:
            return ""
        parts = ((self.folder.log, "Log of the run"), (console_file(self.folder.path), "Printed by the process started here"))
        return "\n\n".join(f"--- {title}: {path}\n{_tail(path)}" for path, title in parts if path.is_file())

    def look(self) -> None:
        """Read the folder once, and tell what changed."""
        if self.folder is None:
            return
        view = self._current_view(self.folder)
        if view != self.view:
            self.view = view
            self._timer.setInterval(LIVE_MS if view.busy else QUIET_MS)
            self.changed.emit(view)
        with suppress(OSError):  # a shared disk that is away for a moment: the view says so
            if self._metrics is not None and self._metrics.update():
                self.metrics_changed.emit(self._metrics.records)
            self._look_for_preview(self.folder)

    def _watch(self, run: Path, process: subprocess.Popen[bytes] | None, command: list[str]) -> None:
        self.folder, self._process, self._command = RunFolder(run), process, command
        self._metrics, self._preview = MetricsReader(self.folder.metrics_file), None
        self._listener = Listener()
        self.view = RunViewState("")
        self.attached.emit(run)
        self.metrics_changed.emit([])
        self._timer.start(LIVE_MS)
        self.look()

    def _current_view(self, folder: RunFolder) -> RunViewState:
        try:
            status = folder.read_status()
            silent = status is not None and is_alive(status) is None and self._listener.is_silent(status)
            return describe(status, folder.asked(), self._launch(), silent=silent)
        except (OSError, RunFolderError) as error:  # a shared disk that is away for a moment
            return RunViewState("The run folder cannot be read at the moment", error=str(error))

    def _launch(self) -> Launch | None:
        if self._process is None or self.folder is None:
            return None
        code = self._process.poll()
        return Launch(self._before, code, _tail(console_file(self.folder.path)) if code else "", self._cancelled)

    def _look_for_preview(self, folder: RunFolder) -> None:
        previews = folder.previews()
        if not previews:
            return
        about = previews[-1].stat()
        newest = (previews[-1], about.st_ino, about.st_mtime_ns)
        if newest != self._preview:
            self._preview = newest
            self.preview_written.emit(newest[0])


def _tail(path: Path) -> str:
    try:
        return printable(read_tail(path, OUTPUT_SHOWN).decode("utf-8", errors="replace"))
    except OSError:
        return ""
