"""One list of the maps of attention, whoever offers them; here, as it compares with the dock."""

from napari_sdmae.cli import demo
from napari_sdmae.config.attention import BY_HEAD, METHODS, NEED_PATCH, TAKE_PATCH
from napari_sdmae.widgets.attention.view import METHODS as OFFERED
from napari_sdmae.widgets.attention.view import View


def test_the_dock_offers_all_but_the_class_token() -> None:
    assert set(OFFERED) == set(METHODS) - {"class_token"}
    assert set(demo.METHODS) <= set(METHODS)
    assert {method for method in OFFERED if View(method).pointed} == set(NEED_PATCH)
    assert set(NEED_PATCH) < set(TAKE_PATCH) <= set(METHODS)
    assert {method for method in OFFERED if View(method, head="grid").grid} == set(BY_HEAD) - {"class_token"}
