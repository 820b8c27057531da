"""The form of fine-tuning keeps every setting, leaves out what has no effect, and its command means what it shows."""

import sys
from pathlib import Path
from typing import get_args

import pytest
from qtpy.QtWidgets import QApplication

from napari_sdmae.cli.finetune import settings
from napari_sdmae.config.base import merge
from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig, Task
from napari_sdmae.config.presets import head_preset_names, load_head_preset
from napari_sdmae.config.relevance import without_effect
from napari_sdmae.widgets.finetune.new_run_page import FinetunePage, presets_for
from napari_sdmae.widgets.forms.form_fields import fields_of
from napari_sdmae.widgets.forms.settings_form import SettingsForm
from napari_sdmae.widgets.runs.job import finetune_command
from napari_sdmae.widgets.runs.readiness import reason_not_to_start
from napari_sdmae.widgets.worker_client import QueryWorker

pytestmark = pytest.mark.gui
ELSEWHERE = ["task", "data", "model"]
GIVEN = {"task": "segmentation", "data": Path("tissue"), "model": "any"}
RUN = Path("/runs/one")
CHANGED = {
    "epochs": 3,
    "micro_batch": 4,
    "image_mpp": 0.25,
    "threads": 2,
    "encoder": {"train": "partial", "last_blocks": 2, "layer_decay": 0.9},
    "labels": {"split": "image", "validation": 0.3},
    "augmentation": {"flip": False, "crop_scale": (0.3, 1.0)},
    "optimizer": {"clip_grad": None, "base_lr": 1.7e-5},
}


@pytest.fixture
def form(qtbot):
    form = SettingsForm(FinetuneConfig, skip=ELSEWHERE)
    qtbot.addWidget(form)
    return form


@pytest.fixture
def page(qtbot):
    worker = QueryWorker()
    page = FinetunePage(worker)
    qtbot.addWidget(page)
    yield page
    worker.release()


def config_of(form, **given) -> FinetuneConfig:
    return FinetuneConfig.model_validate(form.values() | GIVEN | given)


def test_every_default_survives_the_form_and_walking_through_it(form, qtbot):
    config = FinetuneConfig.model_validate(GIVEN)
    assert config_of(form) == config
    form.more.heading.setChecked(True)
    form.show()
    qtbot.waitExposed(form)
    for editor in form.editors.values():  # leaving a spin box makes Qt read its text
        editor.setFocus()
        QApplication.processEvents()
    assert config_of(form) == config
    assert {field.key for field in fields_of(FinetuneConfig)} == {*form.editors, *ELSEWHERE}


@pytest.mark.parametrize("preset", head_preset_names())
def test_every_value_of_every_preset_survives_the_form(form, preset):
    config = FinetuneConfig.from_preset(preset, data="tissue", model="any")
    form.show_settings(config)
    assert config_of(form, task=config.task) == config


def test_names_of_classes_are_words_with_commas(form):
    editor = form.editors["labels.leave_out"]
    editor.setText(" BACK,  Loose tissue ,")
    assert config_of(form).labels.leave_out == ("BACK", "Loose tissue")
    editor.setText("")
    assert config_of(form).labels.leave_out == ()


def test_blocks_are_whole_numbers_with_commas(form):
    editor = form.editors["head.blocks"]
    editor.setText("3, 5,7; 11")
    assert config_of(form).head.blocks == (3, 5, 7, 11)
    editor.set(())
    assert (editor.text(), config_of(form).head.blocks) == ("", ())
    editor.setText("the last")
    with pytest.raises(ValueError, match="blocks"):
        config_of(form)


@pytest.mark.parametrize("task", get_args(Task))
def test_each_task_has_its_words_its_presets_and_its_settings(page, task):
    page.choose_task(task)
    page.model.choose("")
    assert page.task.get() == task
    assert page.preset.options() == presets_for(task)
    assert all(not name or load_head_preset(name)["task"] == task for name in page.preset.options())
    hidden = {key for key, editor in page.form.editors.items() if editor.isHidden()}
    assert hidden == without_effect(task, SCRATCH, page.form.values())
    assert {key for key, label in page.form.labels.items() if label.isHidden()} == hidden
    noun = {"segmentation": "regions", "instances": "nuclei", "classification": "tiles", "detection": "boxes"}[task]
    assert f"Hidden, as they have no effect on {noun} from scratch with these settings: " in page.form.left_out.text()
    assert page.form.fields["encoder.train"].title in page.form.left_out.text()
    assert page.source.from_layers.isHidden() == (task == "classification")


def test_a_preset_proposes_its_model_until_another_is_chosen(as_shipped, page, model_folder):
    page.choose_task("instances")
    assert page.chosen_model == load_head_preset("nuclei")["model"]
    page.choose_task("detection")
    assert page.chosen_model == load_head_preset("detection")["model"]
    page.preset.set("detection")
    page.model.choose(model_folder)
    page.choose_task("instances")
    assert page.chosen_model == str(model_folder)


def test_a_group_without_a_setting_that_has_an_effect_is_not_shown(page):
    page.choose_task("classification")
    page.form.show_value("head.classifier", "knn")
    assert page.form.folds["Augmentation"].isHidden()
    assert page.form.folds["Optimizer"].isHidden()
    page.form.show_value("head.classifier", "mean")
    assert not page.form.folds["Augmentation"].isHidden()


def parsed(command: list[str]) -> FinetuneConfig:
    """Return what the command line makes of `command`."""
    assert command[:4] == [sys.executable, "-m", "napari_sdmae", "finetune"]
    flags, taken = command[4:], {"--preset": ""}
    for name in ("--preset", "--output"):
        if name in flags:
            place = flags.index(name)
            taken[name] = flags[place + 1]
            del flags[place : place + 2]
    assert taken["--output"] == str(RUN)
    return settings(load_head_preset(taken["--preset"]) if taken["--preset"] else {}, flags)


@pytest.mark.parametrize("preset", ["", *head_preset_names()])
def test_the_command_means_the_settings_exactly(preset):
    changes = load_head_preset(preset) if preset else {}
    given = {"task": changes.get("task", "detection"), "data": "/data/H & E (colon)", "model": "/models/one"}
    plain = FinetuneConfig.model_validate(merge(changes, given))
    assert parsed(finetune_command(plain, preset, RUN, changes)) == plain
    if plain.head.classifier == "mean":
        config = FinetuneConfig.model_validate(merge(changes, given | CHANGED))
        assert parsed(finetune_command(config, preset, RUN, changes)) == config


def test_a_setting_that_has_no_effect_any_more_is_not_on_the_command_line(page, tmp_path):
    page.output.set(tmp_path / "runs")
    page.source.folder.set(tmp_path)
    page.form.show_value("labels.ignore_value", 77)
    assert "--labels.ignore-value 77" in page.command.text.toPlainText()
    page.choose_task("instances")
    assert page.config.labels.ignore_value == 255
    assert "ignore-value" not in page.command.text.toPlainText()
    assert parsed(page.command_for(page.config, RUN)) == page.config


def test_from_scratch_all_is_trained_whatever_a_preset_says(page, tmp_path, model_folder):
    page.source.folder.set(tmp_path)
    page.choose_task("classification")
    page.preset.set("paper-linear-probe")
    page.choose_preset()
    assert page.config.encoder.train == "full"
    page.model.choose(model_folder)
    assert page.config.model == str(model_folder)
    assert page.config.encoder.train == "frozen"
    assert not page.form.editors["encoder.architecture"].isVisible()
    page.model.choose(tmp_path / "nothing")
    assert "No model at" in reason_not_to_start(page.situation())
