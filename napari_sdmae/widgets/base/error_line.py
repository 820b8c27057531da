"""An error as people can use it: one line of cause and what to do, the full story behind a button."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_sdmae.humanize import sentence
from napari_sdmae.widgets.base.text import Banner, TextDialog
from napari_sdmae.worker.protocol import ErrorCode, WorkerError


class FailureLine(QWidget):
    """Shows the last failure until the next success; hidden while there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner("error", self)
        self.button = QPushButton("Details…", self)
        self.button.setToolTip("Show the full error message.")
        self.failure: WorkerError | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.banner)
        column.addWidget(self.button)
        self.button.clicked.connect(lambda: self.details().show())
        self.hide()

    def fail(self, failure: WorkerError) -> None:
        """Show `failure`."""
        self.failure = failure
        self.banner.show_text(sentence(failure.line))
        self.button.setVisible(bool(failure.details))
        self.show()

    def set_text(self, line: str) -> None:
        """Show `line`, a problem that needs no further details."""
        self.fail(WorkerError(ErrorCode.INVALID, line))

    def clear(self) -> None:
        """Hide."""
        self.failure = None
        self.banner.show_text("")
        self.hide()

    def details(self) -> TextDialog:
        """Return the window with the full story."""
        return TextDialog("Details of the error", self.failure.details if self.failure else "", self)
