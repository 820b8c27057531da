"""What is done when a widget goes: called once, by whatever end, and never emptied before."""

import gc

import pytest
from qtpy.QtCore import QObject

from napari_sdmae.widgets.base import lifetime
from napari_sdmae.widgets.base.lifetime import when_destroyed

pytestmark = pytest.mark.gui


class Keeper:
    """Counts how often it was told."""

    def __init__(self):
        self.told = 0

    def tell(self):
        self.told += 1


def test_it_is_called_when_qt_destroys_the_widget(qtbot):
    keeper, widget, before = Keeper(), QObject(), set(lifetime._endings)
    when_destroyed(widget, keeper.tell)
    held = lifetime._endings - before
    assert len(held) == 1, "the garbage collector would take a widget together with what it alone holds"
    widget.deleteLater()
    qtbot.waitUntil(lambda: keeper.told == 1)
    assert not held & lifetime._endings


def test_a_method_does_not_keep_its_object_alive(qtbot):
    keeper, widget, before = Keeper(), QObject(), set(lifetime._endings)
    when_destroyed(widget, keeper.tell)
    held = lifetime._endings - before
    del keeper
    gc.collect()
    assert not any(isinstance(one, Keeper) for one in gc.get_objects())
    widget.deleteLater()
    qtbot.waitUntil(lambda: not held & lifetime._endings)
