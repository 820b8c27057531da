"""The line that shows a command."""

import pytest

from napari_sdmae.widgets.base.text import COMMAND_LINES, CommandLine


@pytest.mark.parametrize("points", [8, 11, 17])
def test_a_command_is_seen_in_whole_lines_of_any_font(qtbot, points):
    command = CommandLine()
    qtbot.addWidget(command)
    command.text.setStyleSheet(f"font-size: {points}pt")  # as the theme does, after the widget was made
    command.show()
    qtbot.waitExposed(command)
    inside = command.text.viewport().height() - 2 * command.text.document().documentMargin()
    assert inside / command.text.fontMetrics().lineSpacing() == pytest.approx(COMMAND_LINES, abs=0.1)
