"""Help of a dock: its page of the guide, opened in the browser. Every page is on this computer, so no network is needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QDockWidget, QLabel, QToolButton, QWidget

PACKAGE = Path(__file__).parents[2]
BUTTON = "SDMAEHelp"


def guide_page(name: str) -> Path:
    """Return the page `name` of the guide.

    The built site (``make docs``) comes first. Without it the Markdown source is used: of a wheel in the package, of a clone in
    ``docs/``.

    Raises
    ------
    FileNotFoundError
        If this installation holds no guide.
    """
    places = (
        PACKAGE / "site" / "guide" / f"{name}.html",
        PACKAGE / "guide" / f"{name}.md",
        PACKAGE.parent / "docs" / "guide" / f"{name}.md",
    )
    for path in places:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"This installation holds no page “{name}” of the guide: {places[0]} is missing. Install the wheel again."
    )


def open_guide(name: str) -> None:
    """Open the page `name` of the guide in the browser; a warning names the file if none starts."""
    try:
        page = guide_page(name)
    except FileNotFoundError as error:
        show_warning(str(error))
        return
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(page))):
        show_warning(f"No browser could be started. Open this file in one: {page}")


class HelpInTitleBar(QObject):
    """Keeps a Help button in the title bar above a widget, where it takes no room from the widget.

    napari makes the title bar anew whenever a dock moves or floats, so the button is placed again after each of these.
    """

    def __init__(self, widget: QWidget, page: str) -> None:
        super().__init__(widget)
        self._widget = widget
        self._open = partial(open_guide, page)
        self._dock: QDockWidget | None = None
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Place the button when the widget is shown in a dock."""
        if event.type() == QEvent.Type.Show:
            self._follow(_dock_above(self._widget))
        return False

    def _follow(self, dock: QDockWidget | None) -> None:
        if dock is None or dock is self._dock:
            return
        self._dock = dock
        dock.topLevelChanged.connect(self._place)
        dock.dockLocationChanged.connect(self._place)
        self._place()

    def _place(self, _moved: object = None) -> None:
        bar = self._dock.titleBarWidget() if self._dock is not None else None
        if bar is None or bar.layout() is None or bar.findChild(QToolButton, BUTTON) is not None:
            return
        for title in bar.findChildren(QLabel):  # makes room for the button: the menu has named the plugin already
            title.setText(title.text().removesuffix(" (napari-sdmae)"))
        bar.layout().addWidget(_button(self._open, bar))


def add_help(widget: QWidget, page: str) -> None:
    """Give `widget` a Help button in its dock's title bar, for the page `page` of the guide."""
    HelpInTitleBar(widget, page)


def _button(open_page: partial[None], parent: QWidget) -> QToolButton:
    button = QToolButton(parent)
    button.setObjectName(BUTTON)
    button.setText("Help")
    button.setToolTip("Open the guide to this dock in the browser. Works without a network.")
    button.setAutoRaise(True)
    button.setStyleSheet("text-decoration: underline;")  # as links look in the docks
    button.setCursor(Qt.CursorShape.ArrowCursor)
    button.clicked.connect(lambda: open_page())
    return button


def _dock_above(widget: QWidget) -> QDockWidget | None:
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    return above
