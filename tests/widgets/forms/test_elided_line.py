"""What does not fit into a line ends, or begins, with an ellipsis; it is painted as Qt paints a text that fits."""

import pytest
from qtpy.QtWidgets import QLineEdit

from napari_sdmae.widgets.forms.elided_line import ElidedLine

pytestmark = pytest.mark.gui
TITLE, PATH = "Tissue, small (ViT-Tiny/16, trained on tiles)", "/data/runs/2026-11-23-colon/model"


def picture_of(qtbot, line: QLineEdit, text: str):
    qtbot.addWidget(line)
    line.setText(text)
    line.resize(140, line.sizeHint().height())
    line.ensurePolished()
    return line.grab().toImage()


@pytest.mark.parametrize(("text", "left"), [(TITLE, False), (PATH, True)])
def test_what_is_painted_is_the_text_with_an_ellipsis(qtbot, text, left):
    line = ElidedLine()
    line.elide_left(left)
    painted = picture_of(qtbot, line, text)
    assert line.text() == text, "a combo box takes it for what is chosen"
    assert line.shown_text().startswith("…") == left
    assert line.shown_text().endswith("…") != left
    assert len(line.shown_text()) < len(text)
    assert painted == picture_of(qtbot, QLineEdit(), line.shown_text())
    assert painted != picture_of(qtbot, QLineEdit(), text)


def test_what_fits_is_painted_by_qt(qtbot):
    line = ElidedLine()
    assert picture_of(qtbot, line, "short") == picture_of(qtbot, QLineEdit(), "short")
    assert line.shown_text() == "short"
