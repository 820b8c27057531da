"""Help in each dock opens its own page of the guide, from this computer."""

import re

import pytest
from npe2 import PluginManager
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QToolButton

from napari_sdmae.widgets.base import help as help_

pytestmark = pytest.mark.gui

TITLES = {
    "Pre-train": "Pre-train",
    "Reconstruct": "Reconstruct",
    "Attention": "Attention",
    "Scribbles": "Scribbles",
    "Fine-tune": "Fine-tune",
    "Segment": "Segment, correct, measure, export",
}
"""Dock widget, and the heading of its page."""


@pytest.fixture
def opened(monkeypatch):
    """Files that the browser is asked to show."""
    urls = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: urls.append(url) or True)
    return urls


def help_buttons(area):
    return area.titleBarWidget().findChildren(QToolButton, help_.BUTTON)


def heading(path):
    text = path.read_text(encoding="utf-8")
    return re.search(r"<h1[^>]*>(.*?)<|^# (.*)$", text, re.M).group(0).lstrip("# ").split(">")[-1].rstrip("<")


def test_every_dock_is_tried():
    PluginManager.instance().discover()
    docks = PluginManager.instance().get_manifest("napari-sdmae").contributions.widgets
    assert {dock.display_name for dock in docks} == set(TITLES)


@pytest.mark.parametrize("name", TITLES)
def test_help_opens_the_page_of_the_dock(viewer, opened, name):
    area, _ = viewer.window.add_plugin_dock_widget("napari-sdmae", name)
    QApplication.processEvents()
    (button,) = help_buttons(area)
    assert button.visibleRegion().boundingRect().width() >= button.sizeHint().width()
    button.click()
    (url,) = opened
    assert url.isLocalFile()
    page = help_.Path(url.toLocalFile())
    assert heading(page) == TITLES[name]


def test_help_stays_when_the_dock_floats_or_moves(viewer, opened):
    area, _ = viewer.window.add_plugin_dock_widget("napari-sdmae", "Attention")
    window = viewer.window._qt_window
    moves = [
        lambda: area.setFloating(True),
        lambda: area.setFloating(False),
        lambda: window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, area),
        lambda: window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, area),
    ]
    for number, move in enumerate(moves, start=1):
        move()
        QApplication.processEvents()
        (button,) = help_buttons(area)
        button.click()
        assert len(opened) == number


def test_the_built_site_comes_first_then_markdown(tmp_path, monkeypatch):
    package = tmp_path / "napari_sdmae"
    monkeypatch.setattr(help_, "PACKAGE", package)
    with pytest.raises(FileNotFoundError, match="holds no page “segment”"):
        help_.guide_page("segment")
    for place in ("docs/guide/segment.md", "napari_sdmae/guide/segment.md", "napari_sdmae/site/guide/segment.html"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.touch()
        assert help_.guide_page("segment") == path


def test_without_a_browser_the_file_is_named(monkeypatch):
    told = []
    monkeypatch.setattr(help_, "show_warning", told.append)
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: False)
    help_.open_guide("segment")
    help_.open_guide("no such page")
    assert str(help_.guide_page("segment")) in told[0]
    assert "no page “no such page”" in told[1]
