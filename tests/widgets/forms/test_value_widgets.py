"""Editors as magicgui widgets: of the right kind, exact, and as narrow as a dock."""

import pytest
from magicgui.widgets import CheckBox, ComboBox, LineEdit
from magicgui.widgets.bases import ContainerWidget, ValueWidget
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.widgets.forms.editors import Choice, FloatBox, NumberList, OptionalNumber, Switch, TextEdit
from napari_sdmae.widgets.forms.path_edit import FolderEdit
from napari_sdmae.widgets.forms.settings_form import SettingsForm
from napari_sdmae.widgets.forms.value_widgets import ChoiceValue, Rows, value_widget

pytestmark = pytest.mark.gui
NARROW = 250
"""Pixels left for a form in a dock of 300, beside the scroll bar and the frame."""


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda: Choice(["a", "b"]), ComboBox),
        (Switch, CheckBox),
        (TextEdit, LineEdit),
        (FloatBox, ValueWidget),
        (NumberList, ValueWidget),
        (FolderEdit, ValueWidget),
    ],
)
def test_each_editor_is_the_magicgui_widget_that_fits_it(qtbot, made, kind):
    editor = made()
    qtbot.addWidget(editor)
    widget = value_widget(editor, name="some.setting", label="Some setting", tooltip="What it is.")
    assert isinstance(widget, kind)
    assert widget.native is editor
    assert (widget.name, widget.label, editor.toolTip()) == ("some.setting", "Some setting", "What it is.")


@pytest.mark.parametrize(
    ("made", "values"),
    [(FloatBox, [1.5e-4, 4 / 3]), (OptionalNumber, [3, None, 0.25]), (NumberList, [(1, 2), ()]), (Switch, [True, False])],
)
def test_values_that_magicgui_would_lose_come_back_exactly_and_are_told(qtbot, made, values):
    editor = made()
    qtbot.addWidget(editor)
    widget = value_widget(editor, name="x")
    heard = []
    widget.changed.connect(heard.append)
    for value in values:
        widget.value = value
        assert widget.value == value
    assert heard == values


def test_a_container_tells_an_edit_and_finds_its_widgets_by_name(qtbot):
    parent = QWidget()
    qtbot.addWidget(parent)
    box = FloatBox()
    rows = Rows([value_widget(box, name="optimizer.base_lr", label="Learning rate")], parent)
    assert isinstance(rows, ContainerWidget)
    heard = []
    rows.changed.connect(heard.append)
    box.set(0.5)
    assert heard == [rows]
    assert rows["optimizer.base_lr"].value == 0.5
    assert rows.titles["optimizer.base_lr"].text() == "Learning rate"


def test_a_choice_stays_under_another_name_and_goes_only_with_what_it_is(qtbot):
    one, two = object(), object()
    offered = [("one", one), ("two", two)]
    choice = ChoiceValue(Choice(), lambda: offered)
    qtbot.addWidget(choice.native)
    choice.value = two
    heard = []
    choice.changed.connect(heard.append)
    offered = [("zwei", two), ("one", one)]
    choice.reset_choices()
    assert (choice.value, choice.native.currentText(), heard) == (two, "zwei", [])
    offered = [("one", one)]
    choice.reset_choices()
    assert (choice.value, heard) == (one, [one])
    offered = []
    choice.reset_choices()
    assert (choice.value, heard) == (None, [one, None])
    with pytest.raises(ValueError, match="not a valid choice"):
        choice.value = two


def test_a_text_stays_chosen_although_qt_returns_another_copy_of_it(qtbot):
    offered = [("Whole picture", "whole picture"), ("Current view", "current view")]
    choice = ChoiceValue(Choice(), lambda: offered)
    qtbot.addWidget(choice.native)
    choice.value = "current view"
    heard = []
    choice.changed.connect(heard.append)
    offered = [*offered, ("boxes", object())]
    choice.reset_choices()
    assert (choice.value, heard) == ("current view", [])


@pytest.mark.parametrize(("settings", "skip"), [(PretrainConfig, ["data"]), (FinetuneConfig, ["task", "data", "model"])])
def test_a_form_fits_a_narrow_dock_and_says_each_title_once(qtbot, settings, skip):
    form = SettingsForm(settings, skip=skip)
    qtbot.addWidget(form)
    for fold in (form.more, *form.folds.values()):
        fold.heading.setChecked(True)
    assert not any(box.text() for box in form.findChildren(QCheckBox))
    assert form.minimumSizeHint().width() <= NARROW
