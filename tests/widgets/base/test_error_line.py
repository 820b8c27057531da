"""A failure is shown as a sentence, whoever raised it."""

import pytest

from napari_sdmae.widgets.base.error_line import FailureLine
from napari_sdmae.worker.protocol import ErrorCode, WorkerError


@pytest.mark.gui
def test_a_failure_begins_with_a_capital_letter(qtbot):
    line = FailureLine()
    qtbot.addWidget(line)
    line.fail(WorkerError(ErrorCode.OUT_OF_MEMORY, "the GPU has not enough free memory: choose a smaller region"))
    assert line.banner.text() == "The GPU has not enough free memory: choose a smaller region"
    line.set_text("a.geojson: damaged")
    assert line.banner.text() == "a.geojson: damaged"
