"""Everything before a run, whatever it trains: what is learned from, settings, the command, Start, which says why it waits.

Pre-training and fine-tuning differ in what they learn from, and in nothing else that a person does. So one page and one dock
hold what is common; a subclass adds where its images come from, its presets, and why it may not start. Each dock lists and
opens runs of its own kind only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_sdmae.config.base import Settings, merge
from napari_sdmae.notices import RESEARCH
from napari_sdmae.widgets.base.collapsible import CollapsibleSection
from napari_sdmae.widgets.base.text import Banner, CommandLine, scrolling, text_label
from napari_sdmae.widgets.canvas.command_line import shell_line
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.forms.form_fields import problems
from napari_sdmae.widgets.forms.path_edit import FolderEdit
from napari_sdmae.widgets.forms.presets import read_settings, write_settings
from napari_sdmae.widgets.forms.settings_form import SettingsForm
from napari_sdmae.widgets.inputs.images_source import SourcePicker
from napari_sdmae.widgets.runs.job import new_run_folder
from napari_sdmae.widgets.runs.readiness import Situation, reason_not_to_start


class NewRunPage(QWidget):
    """The part that all such pages share; what differs is asked of the methods at the end of the class.

    They are abstract for mypy and a test, which hold each page to all of them: Python itself does not look at classes of Qt.

    ``start_requested(command, run)`` says what is to be started, and where it trains into.

    Parameters
    ----------
    settings
        Class of the settings.
    elsewhere
        Dotted names of settings that are edited outside the form.
    presets
        Names of the presets, default first.
    source
        Chooses what is learned from.
    preflight
        Looks at it.
    """

    start_requested = Signal(list, object)

    def __init__(
        self,
        settings: type[Settings],
        elsewhere: Sequence[str],
        presets: Sequence[str],
        source: SourcePicker,
        preflight: Any,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._settings = settings
        self._elsewhere = tuple(elsewhere)
        self.source = source
        self.preflight = preflight
        self.run_live = False
        self.config: Any = None
        self.problems: list[str] = []
        self.preset = Choice(presets, self)
        self.preset_note = text_label(parent=self)
        self.form = SettingsForm(settings, skip=elsewhere, parent=self)
        self.output = FolderEdit("Choose the folder to save runs in", self)
        self.command = CommandLine(self)
        self.reason = text_label(parent=self)
        self.failure = Banner("error", self)
        self.start_button = QPushButton("Start training", self)
        self.save_button = QPushButton("Save settings…", self)
        self.load_button = QPushButton("Load settings…", self)

    def choose_preset(self) -> None:
        """Show the chosen preset in the form; what belongs to images and machine stays."""
        self._say_preset()
        self.show_preset(self.preset.get())

    def show_settings(self, config: Any, preset: str = "") -> None:
        """Show `config`, with what it learns from, told apart from `preset` on the command line."""
        self.show_given(config)
        offered = self.preset.options()
        self.preset.set(preset if preset in offered else offered[0])
        self._say_preset()
        self.form.show_settings(config)

    def restore(self, values: dict[str, Any], preset: str) -> None:
        """Show the settings used last.

        Raises
        ------
        ValueError
            If they are no settings, or those of another version.
        """
        self.show_settings(self._settings.model_validate(values), preset)

    def set_run_live(self, live: bool) -> None:
        """Know whether a run is training: two at once would share the device."""
        self.run_live = live
        self.refresh()

    def refresh(self) -> None:
        """Validate, look at the images when needed, and show command and reason."""
        self.config = self._validated()
        self.preflight.check(self.config if self.source.path else None)
        self.show_start()

    def start(self) -> None:
        """Ask for the run to be started."""
        self.show_start()
        if self.config is not None and self.start_button.isEnabled():
            run = self.run_folder()
            self.start_requested.emit(self.command_for(self.config, run), run)

    def run_folder(self) -> Path:
        """Return the folder the next run trains into; it does not exist yet."""
        source = self.source.path
        named = source.with_name(source.name.removesuffix("-sources")) if source else None
        return new_run_folder((self.output.get() or Path()).absolute(), named, date.today())

    def save_settings(self) -> None:
        """Write the settings to a YAML file a person names."""
        suggestion = str((self.output.get() or Path.home()) / f"{self.preset.get()}.yaml")
        chosen, _ = QFileDialog.getSaveFileName(self, "Save settings", suggestion, "Settings (*.yaml)")
        if chosen:
            values = merge(self.form.values(), self.given())
            self.failure.show_text(write_settings(Path(chosen), values, self.source.path, self._settings))

    def load_settings(self) -> None:
        """Show the settings of a YAML file a person picks, such as the config.yaml of a run; or say what is wrong with it."""
        start = str(self.output.get() or Path.home())
        chosen, _ = QFileDialog.getOpenFileName(self, "Load settings", start, "Settings (*.yaml *.yml)")
        if chosen:
            self.load_settings_from(Path(chosen))

    def load_settings_from(self, path: Path) -> None:
        """Show the settings in `path`; when they cannot be used, say why and leave the form as it is."""
        config, wrong = read_settings(path, self._settings)
        self.failure.show_text(wrong)
        if config is not None:
            self.show_settings(config, self.preset.get())

    def show_start(self) -> None:
        """Show whether Start may be pressed, and the command it would start."""
        reason = reason_not_to_start(self.situation())
        self.start_button.setEnabled(not reason)
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        known = self.config is not None and self.source.path is not None and self.output.get() is not None
        self.command.show_command(shell_line(self.command_for(self.config, self.run_folder())) if known else "")

    def lay_out(self, boxes: Sequence[QWidget], settings: Sequence[QWidget]) -> None:
        """Put `boxes` above the settings, `settings` above the form, and Start where it never scrolls away; connect all."""
        self.start_button.setStyleSheet("font-weight: bold; padding: 6px;")
        files = QHBoxLayout()
        files.addWidget(self.load_button)
        files.addWidget(self.save_button)
        form = box("Settings", *settings, self.preset, self.preset_note, self.form)
        form.layout().addLayout(files)
        content = QWidget()
        column = QVBoxLayout(content)
        rest = (box("Save runs in", self.output), CollapsibleSection("Command", self.command, parent=self))
        for widget in (*boxes, form, *rest, text_label(RESEARCH, self)):
            column.addWidget(widget)
        column.addStretch()
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 4)
        for widget in (scrolling(content), self.failure, self.reason, self.start_button):
            page.addWidget(widget)
        self._connect()

    def _validated(self) -> Any:
        try:
            config = self._settings.model_validate(merge(self.form.values(), self.given()))
        except ValidationError as error:
            self.problems = problems(error, self._settings)
            return None
        self.problems = []
        return config

    def _say_preset(self) -> None:
        self.preset_note.setText(self.words_of(self.preset.get()))

    def _connect(self) -> None:
        self.preflight.changed.connect(self.show_start)
        self.preset.activated.connect(lambda _: self.choose_preset())
        for changed in (self.form.changed, self.output.edited):
            changed.connect(self.refresh)
        self.start_button.clicked.connect(self.start)
        self.save_button.clicked.connect(self.save_settings)
        self.load_button.clicked.connect(self.load_settings)

    # --- what differs ---------------------------------------------------------------------------------------------

    @abstractmethod
    def words_of(self, preset: str) -> str:
        """Return what `preset` is for."""

    @abstractmethod
    def show_preset(self, preset: str) -> None:
        """Show the settings of `preset`."""

    @abstractmethod
    def given(self) -> dict[str, Any]:
        """Return the settings edited outside the form, nested."""

    @abstractmethod
    def show_given(self, config: Any) -> None:
        """Show the settings of `config` that are edited outside the form."""

    @abstractmethod
    def situation(self) -> Situation:
        """Return what Start depends on."""

    @abstractmethod
    def command_for(self, config: Any, run: Path) -> list[str]:
        """Return the command that trains with `config` into `run`."""


def box(title: str, *widgets: QWidget) -> Any:
    """Return a titled frame around `widgets`, one below the other."""
    frame = QGroupBox(title)
    column = QVBoxLayout(frame)
    for widget in widgets:
        column.addWidget(widget)
    return frame
