"""A choice that is longer than its box ends in an ellipsis, not in half a letter."""

import pytest
from qtpy.QtWidgets import QStyle, QStyleOptionComboBox

from napari_sdmae.widgets.forms.editors import Choice


def edge_of(qtbot, words: str) -> list[int]:
    """Return the last three columns of the field that shows `words`, in a narrow box."""
    choice = Choice([words])
    qtbot.addWidget(choice)
    choice.resize(140, choice.sizeHint().height())
    choice.show()
    assert choice.currentText() == words
    option = QStyleOptionComboBox()
    choice.initStyleOption(option)
    field = choice.style().subControlRect(
        QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, choice
    )
    picture = choice.grab().toImage()
    return [
        picture.pixel(column, row)
        for column in range(field.right() - 2, field.right() + 1)
        for row in range(field.top(), field.bottom())
    ]


@pytest.mark.parametrize("words", ["W" * 60, "H&E nuclei (Hautaniemi Laboratory)", "m" * 200])
def test_nothing_is_cut_by_the_edge(qtbot, words):
    assert edge_of(qtbot, words) == edge_of(qtbot, "a")
