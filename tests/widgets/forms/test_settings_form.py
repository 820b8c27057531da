"""The form shows and returns every setting exactly: no default, bound or unit is lost."""

from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QLabel

from napari_sdmae.config.base import setting
from napari_sdmae.config.presets import preset_names
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.widgets.base.text import scrolling
from napari_sdmae.widgets.forms.editors import FloatBox, IntBox, OptionalNumber
from napari_sdmae.widgets.forms.form_fields import fields_of, make_editor, problems
from napari_sdmae.widgets.forms.path_edit import FolderEdit
from napari_sdmae.widgets.forms.settings_form import SettingsForm, value_at

pytestmark = pytest.mark.gui
FIELDS = {field.key: field for field in fields_of(PretrainConfig, skip=frozenset({"data"}))}
DATA = Path("tissue")


@pytest.fixture
def form(qtbot):
    form = SettingsForm(PretrainConfig, skip=["data"])
    qtbot.addWidget(form)
    return form


def config_of(form) -> PretrainConfig:
    return PretrainConfig.model_validate(form.values() | {"data": DATA})


@pytest.mark.parametrize("preset", preset_names())
def test_every_default_of_every_preset_survives_the_form(form, preset):
    config = PretrainConfig.from_preset(preset, data=DATA)
    form.show_settings(config)
    assert config_of(form) == config


def test_every_default_survives_showing_the_form_and_walking_through_it(form, qtbot):
    config = PretrainConfig(data=DATA)
    form.show_settings(config)
    form.more.heading.setChecked(True)
    form.show()
    qtbot.waitExposed(form)
    for editor in form.editors.values():  # leaving a spin box makes Qt read its text
        editor.setFocus()
        QApplication.processEvents()
    assert config_of(form) == config


def test_a_new_form_shows_the_defaults(form):
    assert config_of(form) == PretrainConfig(data=DATA)


def test_the_form_has_an_editor_for_every_setting(form):
    assert set(form.editors) == set(FIELDS)
    assert len(FIELDS) > 50


def another_value(field):
    """Return a value within bounds that is not the default, awkward where it can be."""
    default, (low, high) = field.info.default, field.bounds
    annotation = field.info.annotation
    if isinstance(default, bool):
        return not default
    if get_origin(annotation) is Literal:
        return next(option for option in get_args(annotation) if option != default)
    if annotation == tuple[str, ...]:
        return ("BACK", "two words")
    if isinstance(default, tuple):
        return tuple(value / 3 + 1e-7 for value in default)
    if default is None:
        number = {None: 3, 8: 13}.get(low, (low or 1) * 1.5)
        return Path("/somewhere/else") if Path in get_args(annotation) else int(number) if int in get_args(annotation) else number
    if isinstance(default, float):
        return (low or 0) + min(1 / 3, ((high or 1) - (low or 0)) / 3) * 1e-3
    return default + 1 if isinstance(default, int) else default + "x"


@pytest.mark.parametrize("key", FIELDS)
def test_every_setting_can_be_changed_and_comes_back_exactly(qtbot, key):
    field = FIELDS[key]
    editor = make_editor(field)
    qtbot.addWidget(editor)
    editor.set(field.info.get_default(call_default_factory=True))
    value = another_value(field)
    with qtbot.waitSignal(editor.edited):
        editor.set(value)
    assert editor.get() == value
    assert type(editor.get()) is type(value) or isinstance(value, Path)


def test_bounds_units_titles_and_tooltips_are_those_of_the_settings(form):
    batch, learning, tile = (form.editors[key] for key in ("batch_size", "optimizer.base_lr", "model.tile_size"))
    assert (batch.minimum(), batch.maximum()) == (1, 65536)
    assert (learning.minimum(), learning.maximum()) == (0, 10)
    assert (tile.minimum(), tile.maximum()) == (16, 2048)
    labels = {label.text() for label in form.findChildren(QLabel)}
    assert {"Tile size (px)", "Scale (µm/px)", "Warm-up (epochs)", "Epochs"} <= labels
    assert form.editors["mask_ratio"].toolTip() == "Fraction of the patches hidden from the encoder.\n(--mask-ratio)"


def test_only_basic_settings_are_unfolded(form, qtbot):
    form.show()
    qtbot.waitExposed(form)
    shown = {key for key, editor in form.editors.items() if editor.isVisible()}
    assert shown == {key for key, field in FIELDS.items() if field.basic}
    assert {"epochs", "batch_size", "mask_ratio", "tiles.mpp"} <= shown


def test_small_numbers_are_shown_not_rounded_away(form):
    form.show_settings(PretrainConfig(data=DATA))
    assert form.editors["optimizer.base_lr"].text() == "0.00015"
    assert form.editors["optimizer.min_lr"].text() == "1e-05"
    assert form.editors["augmentation.crop_ratio"].get() == (0.75, 4 / 3)


@pytest.mark.parametrize(("typed", "value"), [("2.5e-4", 2.5e-4), ("0,3", 0.3), ("7", 7.0)])
def test_numbers_can_be_typed_in_every_usual_way(qtbot, typed, value):
    box = FloatBox(0, 10)
    qtbot.addWidget(box)
    box.selectAll()
    qtbot.keyClicks(box, typed)
    qtbot.keyClick(box, Qt.Key.Key_Enter)
    assert box.get() == value


def test_a_number_out_of_bounds_is_not_taken(qtbot):
    box = FloatBox(0, 1)
    qtbot.addWidget(box)
    box.set(0.6)
    box.selectAll()
    qtbot.keyClicks(box, "60")
    qtbot.keyClick(box, Qt.Key.Key_Enter)
    assert 0 <= box.get() <= 1


def test_arrows_step_by_the_magnitude_of_the_number(qtbot):
    box = FloatBox(0, 10)
    qtbot.addWidget(box)
    box.set(1.5e-4)
    box.stepUp()
    assert box.get() == pytest.approx(1.6e-4, rel=1e-9)
    box.set(0.6)
    box.stepDown()
    assert box.get() == pytest.approx(0.59, rel=1e-9)


def test_nothing_written_means_automatic_and_nonsense_is_left_for_the_settings_to_refuse(form):
    editor = form.editors["tiles.mpp"]
    editor.setText("")
    assert config_of(form).tiles.mpp is None
    editor.setText("0,25")
    assert config_of(form).tiles.mpp == 0.25
    editor.setText("a quarter")
    with pytest.raises(ValidationError) as caught:
        config_of(form)
    assert problems(caught.value, PretrainConfig)[0].startswith("Scale: ")
    assert "'a quarter'" in problems(caught.value, PretrainConfig)[0]


def test_the_wheel_scrolls_instead_of_changing_values(qtbot):
    form = SettingsForm(PretrainConfig, skip=["data"])
    area = scrolling(form)
    qtbot.addWidget(area)
    area.resize(300, 200)
    area.show()
    qtbot.waitExposed(area)
    box, before = form.editors["epochs"], form.editors["epochs"].get()
    area.setFocus()
    centre = box.rect().center()
    event = QWheelEvent(
        QPointF(centre),
        QPointF(box.mapToGlobal(centre)),
        QPoint(0, -120),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(box, event)
    assert box.get() == before


def test_settings_kept_when_a_preset_is_shown(form):
    form.show_settings(PretrainConfig(data=DATA))
    form.editors["tiles.mpp"].set(0.25)
    form.editors["seed"].set(7)
    form.show_settings(PretrainConfig.from_preset("cpu-demo", data=DATA), keep=["tiles.mpp", "seed"])
    assert config_of(form) == PretrainConfig.from_preset("cpu-demo", data=DATA, seed=7, tiles={"mpp": 0.25})


def test_one_signal_for_all_settings_shown_and_one_for_an_edit(form):
    heard = []
    form.changed.connect(lambda: heard.append(1))
    form.show_settings(PretrainConfig.from_preset("cpu-demo", data=DATA))
    assert len(heard) == 1
    form.editors["epochs"].set(3)
    assert len(heard) == 2


def test_a_setting_of_a_type_without_editor_is_refused():
    class Odd(BaseModel):
        table: dict[str, int] = setting({}, "Table", "Cannot be edited.")

    with pytest.raises(TypeError, match="table is of type"):
        make_editor(next(fields_of(Odd)))


def test_the_folder_edit_is_a_folder_or_nothing(qtbot, monkeypatch, tmp_path):
    edit = FolderEdit()
    qtbot.addWidget(edit)
    assert edit.get() is None
    monkeypatch.setattr("napari_sdmae.widgets.forms.path_edit.QFileDialog.getExistingDirectory", lambda *_: str(tmp_path))
    qtbot.mouseClick(edit.button, Qt.MouseButton.LeftButton)
    assert edit.get() == tmp_path
    monkeypatch.setattr("napari_sdmae.widgets.forms.path_edit.QFileDialog.getExistingDirectory", lambda *_: "")
    qtbot.mouseClick(edit.button, Qt.MouseButton.LeftButton)
    assert edit.get() == tmp_path  # leaving the window without a choice changes nothing


def test_values_are_found_by_path():
    assert value_at(PretrainConfig(data=DATA), ("model", "patch_size")) == 16
    assert isinstance(make_editor(FIELDS["threads"]), OptionalNumber)
    assert isinstance(make_editor(FIELDS["epochs"]), IntBox)
