"""Choosing image and region in a real viewer."""

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication, QWidget

from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.widgets.canvas.layer_region import RegionError
from napari_sdmae.widgets.inputs.image import VIEW, WHOLE, ImageInput

pytestmark = pytest.mark.gui
RGB = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)


@pytest.fixture
def chooser(viewer, qtbot):
    owner = QWidget()
    qtbot.addWidget(owner)
    chooser = ImageInput(viewer, owner)
    yield chooser
    owner.hide()


def listed(box):
    return [box.itemText(index) for index in range(box.count())]


def test_only_pictures_are_offered_and_the_list_follows_the_viewer(viewer, chooser):
    with pytest.raises(RegionError, match="Open a picture first"):
        chooser.take()
    first = viewer.add_image(RGB, name="first")
    viewer.add_image(RGB[..., 0], name="derived", metadata={METADATA_KEY: {"id": "x"}})
    viewer.add_labels(RGB[..., 0], name="labels")
    second = viewer.add_image(RGB, name="second")
    assert listed(chooser.layer_box) == ["second", "first"]
    assert chooser.layer is first  # what was chosen stays chosen
    first.name = "renamed"
    assert listed(chooser.layer_box) == ["second", "renamed"]
    viewer.layers.remove(first)
    assert chooser.layer is second


def test_the_change_is_told_once(viewer, chooser, qtbot):
    told = []
    chooser.changed.connect(lambda: told.append(chooser.layer))
    first = viewer.add_image(RGB)
    viewer.add_image(RGB)
    assert told == [first]


def test_a_view_stays_taken_when_shapes_come(viewer, chooser):
    """As the boxes of a detection head do."""
    viewer.add_image(RGB)
    chooser.region_box.setCurrentText(VIEW)
    taken = chooser.take()
    told = []
    chooser.changed.connect(lambda: told.append(1))
    viewer.add_shapes([np.array([[1, 1], [1, 9], [9, 9], [9, 1]])])
    assert chooser.repeated() is taken
    assert told == []


def test_a_rectangle_of_a_shapes_layer(viewer, chooser):
    viewer.add_image(RGB, scale=(0.5, 0.5))
    corners = np.array([[99.5, 49.5], [99.5, 249.5], [199.5, 249.5], [199.5, 49.5]])
    shapes = viewer.add_shapes([corners], scale=(0.5, 0.5), name="roi")
    chooser.region_box.setCurrentText("roi")
    taken = chooser.take()
    assert (taken.field.origin, taken.field.size) == ((100, 50), (100, 200))
    np.testing.assert_array_equal(taken.pixels, RGB[100:200, 50:250])
    shapes.data = []
    with pytest.raises(RegionError, match="Draw a rectangle"):
        chooser.take()


def test_the_current_view(viewer, chooser):
    viewer.add_image(RGB, scale=(2, 2), translate=(10, 20))
    chooser.region_box.setCurrentText(VIEW)
    QApplication.processEvents()
    viewer.reset_view()
    assert chooser.take().field.size == (400, 600)
    viewer.scene.camera.center = (0, 10 + 2 * 200, 20 + 2 * 300)
    viewer.scene.camera.zoom = 4
    taken = chooser.take()
    height, width = np.asarray(viewer.canvas.size) / 4 / 2
    np.testing.assert_allclose(taken.field.size, (height, width), atol=1)
    np.testing.assert_allclose(np.array(taken.field.origin) + np.array(taken.field.size) / 2, (200, 300), atol=1)
    viewer.scene.camera.center = (0, -5000, -5000)
    with pytest.raises(RegionError, match="outside of the picture"):
        chooser.take()


def test_three_dimensions_are_declined_in_words(viewer, chooser):
    viewer.add_image(np.zeros((5, 64, 64), np.uint8))
    assert listed(chooser.region_box)[0] == WHOLE
    viewer.dims.current_step = (2, 0, 0)
    assert chooser.take().field.index == (2.0,)
    viewer.dims.ndisplay = 3
    with pytest.raises(RegionError, match="in 2D"):
        chooser.take()


def test_nothing_is_heard_after_the_owner_is_gone(viewer, qtbot):
    owner = QWidget()
    ImageInput(viewer, owner)
    owner.deleteLater()
    qtbot.wait(50)
    viewer.add_image(RGB)
    viewer.layers.clear()
