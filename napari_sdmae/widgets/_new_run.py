"""The New run page: images, settings, a look before training, the command, Start."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_sdmae.config import DEFAULT_PRESET, PretrainConfig, preset_names
from napari_sdmae.widgets._editors import Choice
from napari_sdmae.widgets._fields import problems
from napari_sdmae.widgets._fold import Fold
from napari_sdmae.widgets._folder_edit import FolderEdit
from napari_sdmae.widgets._form import SettingsForm
from napari_sdmae.widgets._job import new_run_folder, pretrain_command, shell_line
from napari_sdmae.widgets._notes import Banner, CommandLine, scrolling, text_label
from napari_sdmae.widgets._preflight import Preflight
from napari_sdmae.widgets._presets import preset_note, read_settings, write_settings
from napari_sdmae.widgets._query import QueryWorker
from napari_sdmae.widgets._source import SourcePicker
from napari_sdmae.widgets._start import Situation, reason_not_to_start

# what belongs to the images and the machine, and so outlives the choice of another preset
KEPT = ("tiles.mpp", "tiles.cache", "device", "threads", "seed")


class NewRunPage(QWidget):
    """Everything before a run. ``start_requested(command, run)`` says what is to be started, and where it trains into."""

    start_requested = Signal(list, object)

    def __init__(self, worker: QueryWorker, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run_live = False
        self.config: PretrainConfig | None = None
        self.problems: list[str] = []
        self.source = SourcePicker(self)
        self.preset = Choice(preset_names(), self)
        self.preset_note = text_label(parent=self)
        self.form = SettingsForm(PretrainConfig, skip=["data"], parent=self)
        self.output = FolderEdit("Choose the folder where runs are kept", self)
        self.preflight = Preflight(worker, self)
        self.command = CommandLine(self)
        self.reason = text_label(parent=self)
        self.failure = Banner("error", self)
        self.start_button = QPushButton("Start training", self)
        self.save_button = QPushButton("Save settings…", self)
        self.load_button = QPushButton("Load settings…", self)
        self._lay_out()
        self._connect()
        self.choose_preset()

    def choose_preset(self) -> None:
        """Show the chosen preset in the form; what belongs to images and machine stays."""
        name = self.preset.get()
        self.preset_note.setText(preset_note(name))
        self.form.show_settings(PretrainConfig.from_preset(name, data="."), keep=KEPT)

    def show_settings(self, config: PretrainConfig, preset: str = DEFAULT_PRESET) -> None:
        """Show `config`, with its folder of images, told apart from `preset` on the command line."""
        self.preset.set(preset if preset in preset_names() else DEFAULT_PRESET)
        self.preset_note.setText(preset_note(self.preset.get()))
        if config.data != Path():
            self.source.from_folder.setChecked(True)
            self.source.folder.set(config.data)
        self.form.show_settings(config)

    def set_run_live(self, live: bool) -> None:
        """Know whether a run is training: two at once would share the device."""
        self.run_live = live
        self.refresh()

    def refresh(self) -> None:
        """Validate, look at the images when needed, and show command and reason."""
        self.config = self._validated()
        self.preflight.check(self.config if self.source.path else None)
        self._show_start()

    def start(self) -> None:
        """Ask for the run to be started."""
        self._show_start()
        if self.config is not None and self.start_button.isEnabled():
            run = self.run_folder()
            self.start_requested.emit(pretrain_command(self.config, self.preset.get(), run), run)

    def run_folder(self) -> Path:
        """Return the folder the next run trains into; it does not exist yet."""
        source = self.source.path
        named = source.with_name(source.name.removesuffix("-sources")) if source else None
        return new_run_folder((self.output.get() or Path()).absolute(), named, date.today())

    def situation(self) -> Situation:
        """Return what Start depends on."""
        limit = self.config.tiles.max_unusable if self.config else 1.0
        return Situation(
            source=self.source.path,
            no_source=self.source.advice,
            problems=self.problems,
            checking=self.preflight.checking,
            check_failed=self.preflight.failed,
            found=self.preflight.found,
            max_unusable=limit,
            output=self.output.get(),
            run_live=self.run_live,
        )

    def save_settings(self) -> None:
        """Write the settings to a YAML file a person names."""
        suggestion = str((self.output.get() or Path.home()) / f"{self.preset.get()}.yaml")
        chosen, _ = QFileDialog.getSaveFileName(self, "Save settings", suggestion, "Settings (*.yaml)")
        if chosen:
            self.failure.show_text(write_settings(Path(chosen), self.form.values(), self.source.path))

    def load_settings(self) -> None:
        """Show the settings of a YAML file a person picks, such as the config.yaml of a run; or say what is wrong with it."""
        start = str(self.output.get() or Path.home())
        chosen, _ = QFileDialog.getOpenFileName(self, "Load settings", start, "Settings (*.yaml *.yml)")
        if chosen:
            self.load_settings_from(Path(chosen))

    def load_settings_from(self, path: Path) -> None:
        """Show the settings in `path`; when they cannot be used, say why and leave the form as it is."""
        config, wrong = read_settings(path)
        self.failure.show_text(wrong)
        if config is not None:
            self.show_settings(config, self.preset.get())

    def _validated(self) -> PretrainConfig | None:
        values: dict[str, Any] = self.form.values() | {"data": self.source.path.absolute() if self.source.path else Path()}
        try:
            config = PretrainConfig.model_validate(values)
        except ValidationError as error:
            self.problems = problems(error, PretrainConfig)
            return None
        self.problems = []
        return config

    def _show_start(self) -> None:
        reason = reason_not_to_start(self.situation())
        self.start_button.setEnabled(not reason)
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        known = self.config is not None and self.source.path is not None and self.output.get() is not None
        self.command.show_command(
            shell_line(pretrain_command(self.config, self.preset.get(), self.run_folder())) if known and self.config else ""
        )

    def _connect(self) -> None:
        self.preset.activated.connect(lambda _: self.choose_preset())
        for changed in (self.form.changed, self.source.changed, self.output.edited):
            changed.connect(self.refresh)
        self.preflight.changed.connect(self._show_start)
        self.start_button.clicked.connect(self.start)
        self.save_button.clicked.connect(self.save_settings)
        self.load_button.clicked.connect(self.load_settings)

    def _lay_out(self) -> None:
        self.start_button.setStyleSheet("font-weight: bold; padding: 6px;")
        files = QHBoxLayout()
        files.addWidget(self.load_button)
        files.addWidget(self.save_button)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addWidget(_box("Images", self.source, self.preflight))
        settings = _box("Settings", self.preset, self.preset_note, self.form)
        settings.layout().addLayout(files)
        column.addWidget(settings)
        column.addWidget(_box("Runs are kept in", self.output))
        column.addWidget(Fold("Command", self.command, parent=self))
        column.addWidget(text_label("For research and teaching. Not a medical device.", self))
        column.addStretch()
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 4)
        for widget in (scrolling(content), self.failure, self.reason, self.start_button):  # Start never scrolls away
            page.addWidget(widget)


def _box(title: str, *widgets: QWidget) -> Any:
    box = QGroupBox(title)
    column = QVBoxLayout(box)
    for widget in widgets:
        column.addWidget(widget)
    return box
