"""The New run page of fine-tuning: task, labelled images, model, settings, a look before training, the command, Start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_sdmae.config.base import merge
from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig, Task
from napari_sdmae.config.presets import head_preset_names, load_head_preset
from napari_sdmae.config.relevance import without_effect
from napari_sdmae.io.model_info.info import shipped_heads, shipped_models
from napari_sdmae.widgets.base.text import text_label
from napari_sdmae.widgets.finetune.labelled_source import LabelledSource
from napari_sdmae.widgets.finetune.preflight import LabelledPreflight
from napari_sdmae.widgets.finetune.readiness import LabelledSituation
from napari_sdmae.widgets.finetune.words import DATA, TASKS
from napari_sdmae.widgets.forms.editors import Choice
from napari_sdmae.widgets.forms.presets import preset_note
from napari_sdmae.widgets.forms.settings_form import value_at
from napari_sdmae.widgets.inputs.model import ModelInput
from napari_sdmae.widgets.runs.job import finetune_command
from napari_sdmae.widgets.runs.new_run_page import NewRunPage, box
from napari_sdmae.widgets.worker_client import QueryWorker

KEPT = ("image_mpp", "device", "threads", "seed", "labels.ignore_value")
"""What belongs to the images and the machine, and so outlives the choice of another preset."""
DEFAULT_FORMATS: dict[Task, str] = {"segmentation": "tissue-regions", "instances": "nuclei", "classification": "tissue-classes"}
PLAIN = ""
FROM_SCRATCH = "From scratch: random weights, as a baseline. Needs many labels."


class FinetunePage(NewRunPage):
    """Everything before a fine-tuning run."""

    config: FinetuneConfig | None
    source: LabelledSource

    def __init__(self, worker: QueryWorker, parent: QWidget | None = None) -> None:
        elsewhere = ["task", "data", "model"]
        super().__init__(FinetuneConfig, elsewhere, head_preset_names(), LabelledSource(), LabelledPreflight(worker), parent)
        self.task = Choice(TASKS, self)
        self.task_note = text_label(DATA["segmentation"], self)
        self.model = ModelInput(self, optional=True, shipped=lambda: [*shipped_models(), *shipped_heads()])
        self._proposed = self._first = self.model.model
        self.model.box.line.setPlaceholderText("none: from scratch")
        self.model_note = text_label(FROM_SCRATCH, self)
        boxes = [
            box("Task", self.task, self.task_note),
            box("Labelled images", self.source, self.preflight),
            box("Starting model", self.model, self.model_note),
        ]
        self.lay_out(boxes, [])
        self.task.activated.connect(lambda _: self.choose_task(self.task.get()))
        self.source.changed.connect(self._follow_source)
        self.model.changed.connect(self._follow_model)
        self.form.changed.connect(self._leave_out)
        self.choose_task("segmentation")

    def choose_task(self, task: Task) -> None:
        """Learn `task`: its words, its presets, and the settings that have an effect on it."""
        self.task.set(task)
        self.task_note.setText(DATA[task])
        self.source.set_task(task)
        offered = presets_for(task)
        if offered != self.preset.options():
            self.preset.offer(offered)
            self.choose_preset()
        self._leave_out()
        self.refresh()

    def take_labels(self, folder: Path, task: Task, model: str | None, ignore_value: int | None) -> None:
        """Fine-tune on labels that lie in `folder`, from `model`, or the one chosen already if it is None."""
        self.choose_task(task)
        if model is not None:
            self.model.choose("" if model == SCRATCH else model)
        if ignore_value is not None:
            self.form.show_value("labels.ignore_value", ignore_value)
        self.source.take_files(folder)
        self.refresh()

    @property
    def chosen_model(self) -> str:
        """The model as the settings name it."""
        return self.model.model or SCRATCH

    def situation(self) -> LabelledSituation:
        """Return what Start depends on."""
        return LabelledSituation(
            source=self.source.path,
            no_source=self.source.advice,
            model_problem=self.model.problem if self.model.model else "",
            problems=self.problems,
            checking=self.preflight.checking,
            check_failed=self.preflight.failed,
            found=self.preflight.found,
            output=self.output.get(),
            run_live=self.run_live,
        )

    def words_of(self, preset: str) -> str:
        """Return what `preset` is for."""
        return preset_note(preset, "presets/heads") if preset else "The default settings."

    def show_preset(self, preset: str) -> None:
        """Show the settings of `preset`, and its model unless another was chosen; what belongs to images and machine stays."""
        self.form.show_settings(preset_settings(preset, self.task.get()), keep=KEPT)
        if self.model.model == self._proposed:
            named = changes_of(preset).get("model")
            self._proposed = named if named in self.model.offered else self._first
            self.model.choose(self._proposed)

    def given(self) -> dict[str, Any]:
        """Return what is edited outside the form, and for settings that are left out what the preset says."""
        path, scratch = self.source.path, self.chosen_model == SCRATCH
        outside = {
            "task": self.task.get(),
            "data": path.absolute() if path else Path(),
            "model": absolute_model(self.chosen_model),
        }
        whole = {"encoder": {"train": "full"}} if scratch else {}
        return merge(self._left_out_values(), outside | whole)

    def show_given(self, config: FinetuneConfig) -> None:
        """Show task, images and model of `config`."""
        self.choose_task(config.task)
        if config.data != Path():
            self.source.from_folder.setChecked(True)
            self.source.folder.set(config.data)
        self.model.choose("" if config.model == SCRATCH else config.model)

    def command_for(self, config: FinetuneConfig, run: Path) -> list[str]:
        """Return the command that fine-tunes with `config` into `run`."""
        return finetune_command(config, self.preset.get(), run, changes_of(self.preset.get()))

    def start(self) -> None:
        """Ask for the run to be started."""
        if self.model.info is not None:
            self.model.used()
        super().start()

    def _follow_source(self) -> None:
        if self.source.taken is not None:
            self.form.show_value("labels.ignore_value", self.source.ignore_value)
        self.refresh()

    def _follow_model(self) -> None:
        self._leave_out()
        self.refresh()

    def _left_out(self) -> set[str]:
        return without_effect(self.task.get(), self.chosen_model, self.form.values())

    def _left_out_values(self) -> dict[str, Any]:
        """Return what the preset says, or the default, for all settings that are left out, nested."""
        preset = preset_settings(self.preset.get(), self.task.get())
        result: dict[str, Any] = {}
        for key in self._left_out():
            path = tuple(key.split("."))
            result = merge(result, nested(path, value_at(preset, path)))
        return result

    def _leave_out(self) -> None:
        scratch = self.chosen_model == SCRATCH
        words = TASKS[self.task.get()].partition(" (")[0].lower()
        reason = f"Hidden, as they have no effect on {words} {'from scratch' if scratch else 'from a model'} with these settings"
        self.form.leave_out(self._left_out(), reason)
        self.model_note.setVisible(scratch)


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a dictionary that holds `value` at `path`."""
    first, *rest = path
    return {first: nested(tuple(rest), value) if rest else value}


def preset_settings(preset: str, task: Task) -> FinetuneConfig:
    """Return the settings of `preset`, or those by default, for images and a model that are not said."""
    return FinetuneConfig.model_validate(merge(changes_of(preset), {"task": task, "data": ".", "model": "any"}))


def presets_for(task: Task) -> list[str]:
    """Return the presets that are for `task`, the usual one first; an empty name is for the settings as they are by default."""
    names = [name for name in head_preset_names() if load_head_preset(name)["task"] == task]
    return sorted(names, key=lambda name: name != DEFAULT_FORMATS.get(task)) or [PLAIN]


def changes_of(preset: str) -> dict[str, Any]:
    """Return what `preset` changes, nothing for the settings as they are by default."""
    return load_head_preset(preset) if preset else {}


def absolute_model(model: str) -> str:
    """Return a model's folder as an absolute path, so that the command works anywhere; names of shipped models stay."""
    return str(Path(model).absolute()) if model != SCRATCH and Path(model).exists() else model
