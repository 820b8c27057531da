"""The New run page of pre-training: images, settings, a look before training, the command, Start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_sdmae.config.presets import preset_names
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.widgets.forms.presets import preset_note
from napari_sdmae.widgets.inputs.images_source import SourcePicker
from napari_sdmae.widgets.pretrain.preflight import Preflight
from napari_sdmae.widgets.pretrain.readiness import ImagesSituation
from napari_sdmae.widgets.runs.job import pretrain_command
from napari_sdmae.widgets.runs.new_run_page import NewRunPage, box
from napari_sdmae.widgets.worker_client import QueryWorker

# what belongs to the images and the machine, and so outlives the choice of another preset
KEPT = ("tiles.mpp", "tiles.cache", "device", "threads", "seed")


class PretrainPage(NewRunPage):
    """Everything before a pre-training run."""

    config: PretrainConfig | None

    def __init__(self, worker: QueryWorker, parent: QWidget | None = None) -> None:
        super().__init__(PretrainConfig, ["data"], preset_names(), SourcePicker(), Preflight(worker), parent)
        self.lay_out([box("Images", self.source, self.preflight)], [])
        self.source.changed.connect(self.refresh)
        self.preflight.tiles_at_once_chosen.connect(lambda tiles: self.form.show_value("micro_batch", tiles))
        self.choose_preset()

    def situation(self) -> ImagesSituation:
        """Return what Start depends on."""
        limit = self.config.tiles.max_unusable if self.config else 1.0
        return ImagesSituation(
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

    def words_of(self, preset: str) -> str:
        """Return what `preset` is for."""
        return preset_note(preset)

    def show_preset(self, preset: str) -> None:
        """Show the settings of `preset`; what belongs to images and machine stays."""
        self.form.show_settings(PretrainConfig.from_preset(preset, data="."), keep=KEPT)

    def given(self) -> dict[str, Any]:
        """Return the images: edited outside the form."""
        return {"data": self.source.path.absolute() if self.source.path else Path()}

    def show_given(self, config: PretrainConfig) -> None:
        """Show the images of `config`, where it names some."""
        if config.data != Path():
            self.source.from_folder.setChecked(True)
            self.source.folder.set(config.data)

    def command_for(self, config: PretrainConfig, run: Path) -> list[str]:
        """Return the command that trains with `config` into `run`."""
        return pretrain_command(config, self.preset.get(), run)
