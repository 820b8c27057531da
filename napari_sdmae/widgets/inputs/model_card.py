"""The card of a model: what it may be used for, under the choice, and a button for the page with the rest."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QToolButton, QVBoxLayout, QWidget

from napari_sdmae.io.model_info.describe import about_model
from napari_sdmae.io.model_info.info import ModelInfo
from napari_sdmae.notices import USE
from napari_sdmae.widgets.base.text import text_label


class AboutModel(QWidget):
    """Says what a model may be used for, and opens its card; hidden while there is no model."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.info: ModelInfo | None = None
        self.use = text_label(USE, self)
        self.button = QToolButton(self)
        self.button.setText("About this model")
        self.button.setAutoRaise(True)
        font = self.button.font()
        font.setUnderline(True)  # as a link, in the colour of the theme
        self.button.setFont(font)
        self.button.setToolTip("Data, licence, training, accuracy and limits of this model.")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.use)
        column.addWidget(self.button, alignment=Qt.AlignmentFlag.AlignLeft)
        self.button.clicked.connect(lambda: self.open())
        self.hide()

    def show_model(self, info: ModelInfo | None) -> None:
        """Offer the card of a model."""
        self.info = info
        self.setVisible(info is not None)

    def open(self) -> CardDialog | None:
        """Show the card in a window of its own, if there is a model."""
        if self.info is None:
            return None
        try:
            text = about_model(self.info)
        except OSError as error:  # the folder is gone since
            text = f"{self.info.folder} cannot be read: {error}"
        dialog = CardDialog(self.info.title, text, self)
        dialog.show()
        return dialog


class CardDialog(QDialog):
    """A window with the card of a model."""

    def __init__(self, title: str, card: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"About {title}")
        self.resize(680, 620)
        self.text = QTextBrowser(self)
        self.text.setOpenExternalLinks(True)
        self.text.setMarkdown(card)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        buttons.rejected.connect(self.close)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(buttons)
