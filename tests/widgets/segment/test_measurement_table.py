"""The measurement table in a real window: fast with thousands of rows, and on the same object as the canvas."""

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QVBoxLayout, QWidget

from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.widgets.segment.measurement_model import MeasurementModel, as_text, sorting
from napari_sdmae.widgets.segment.measurement_table import MeasurementTable
from napari_sdmae.widgets.segment.table_link import MARKER, TableLink, extent_of

pytestmark = pytest.mark.gui
MPP = 0.5
CLASSES = [{"value": 1, "name": "tumour", "colour": (200, 0, 0)}, {"value": 2, "name": "stroma", "colour": (0, 200, 0)}]


def squares():
    """Three objects whose centres are known: 4 at (10, 20), 7 at (60.5, 30.5), 9 one pixel at (80, 90)."""
    labels = np.zeros((100, 120), np.int32)
    labels[8:13, 18:23] = 4
    labels[59:63, 28:34] = 7
    labels[80, 90] = 9
    return labels


def features():
    return pd.DataFrame({"index": [4, 7, 9], "label": [4, 7, 9], "class": ["b", "a", "b"], "area_um2": [6.25, 6.0, 0.25]})


@pytest.fixture
def linked(viewer, dock, qtbot):
    """A layer with features, rotated and scaled, its table in a dock, and the link between them."""
    angle = np.deg2rad(30)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mark = {"id": "labels", "name": "nuclei", "classes": CLASSES, "instances": True, "class_of": {4: 1, 7: 2, 9: 1}}
    layer = viewer.add_labels(
        squares(),
        name="nuclei",
        scale=(MPP, MPP),
        translate=(5, -7),
        rotate=rotation,
        units=("µm", "µm"),
        features=features(),
        metadata={METADATA_KEY: mark},
    )
    holder = QWidget()
    table = MeasurementTable(holder)
    QVBoxLayout(holder).addWidget(table)
    link = TableLink(viewer, table, holder)
    dock(viewer, holder, width=320)
    link.watch(layer)
    QApplication.processEvents()
    return layer, table, link


def click_row(table, row):
    table.view.scrollTo(table.model.index(row, 0))
    place = table.view.visualRect(table.model.index(row, 0)).center()
    return table.view.viewport(), place


def test_fifty_thousand_rows_come_and_sort_at_once(qtbot, monkeypatch):
    generator = np.random.default_rng(0)
    count = 50_000
    rows = {f"column_{number}": generator.random(count) for number in range(12)}
    many = pd.DataFrame({"label": generator.permutation(count) + 1, **rows})
    table = MeasurementTable()
    qtbot.addWidget(table)
    table.show()
    asked = []
    data = type(table.model).data
    monkeypatch.setattr(
        type(table.model), "data", lambda self, index, *role: asked.append(index.row()) or data(self, index, *role)
    )
    table.show_table(many, "object", "objects")
    QApplication.processEvents()
    table.view.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    QApplication.processEvents()
    assert 0 < len(asked) < count / 5, "only what is seen is looked up"
    order = [table.model.label_at(row) for row in range(count)]
    expected = many.sort_values("column_2", ascending=False)["label"].tolist()
    assert order == expected
    assert all(table.model.row_of(label) == row for row, label in list(enumerate(order))[::997])


def test_sorting_is_stable_and_missing_values_come_last():
    values = np.array([2.0, np.nan, 1.0, 2.0, 0.5])
    assert sorting(values).tolist() == [4, 2, 0, 3, 1]
    assert sorting(values, descending=True).tolist() == [0, 3, 2, 4, 1]
    assert sorting(np.array(["b", "a", "b"], object)).tolist() == [1, 0, 2]


def test_numbers_are_short_and_missing_ones_empty():
    assert [as_text(value) for value in (0.123456, 12345.6, float("nan"), None, 7, "tumour")] == [
        "0.1235",
        "12346",
        "",
        "",
        "7",
        "tumour",
    ]


def test_the_chosen_row_stays_chosen_when_sorted_and_when_the_table_is_new(linked):
    _, table, _ = linked
    table.choose(7)
    table.view.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert table.chosen == 7
    assert table.model.row_of(7) == 0
    table.show_table(features().iloc[1:], "object", "objects")
    assert table.chosen == 7


def test_names_of_napari_are_not_shown(linked):
    _, table, _ = linked
    names = [table.model.headerData(column, Qt.Orientation.Horizontal) for column in range(table.model.columnCount())]
    assert names == ["label", "class", "area_um2"]


def test_a_click_on_a_row_brings_the_object_into_view(viewer, linked, qtbot):
    layer, table, link = linked
    viewer.scene.camera.center = (500, 500)
    with qtbot.waitSignal(link.object_chosen):
        qtbot.mouseClick(click_row(table, 1)[0], Qt.MouseButton.LeftButton, pos=click_row(table, 1)[1])
    assert layer.selected_label == 7
    centre = np.asarray(layer.data_to_world((60.5, 30.5)))
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre)
    ring = next(one for one in viewer.layers if MARKER in one.name)
    np.testing.assert_allclose(ring.data_to_world(ring.data[0]), centre)
    assert ring.visible
    assert float(ring.size[0]) > np.hypot(4, 6)


def test_a_small_object_is_looked_at_closely(viewer, linked, qtbot):
    _, _, link = linked
    viewer.scene.camera.zoom = 1
    link.show_object(9)
    assert viewer.scene.camera.zoom * MPP >= 24
    viewer.scene.camera.zoom = 300
    link.show_object(9)
    assert viewer.scene.camera.zoom == 300


@pytest.mark.parametrize(("place", "label"), [((10, 20), 4), ((60, 30), 7), ((80, 90), 9), ((40, 40), 0)])
def test_a_click_on_an_object_shows_its_row(viewer, linked, place, label, qtbot):
    layer, table, _ = linked
    layer.mode = "pan_zoom"
    press(viewer, layer.data_to_world(place))
    assert (table.chosen or 0) == label
    if label:
        assert layer.selected_label == label


def test_a_drag_and_a_brush_choose_nothing(viewer, linked):
    layer, table, _ = linked
    press(viewer, layer.data_to_world((10, 20)), moves=2)
    assert table.chosen is None
    viewer.layers.selection.active = layer
    layer.mode = "paint"
    press(viewer, layer.data_to_world((10, 20)))
    assert table.chosen is None


def press(viewer, position, moves=0):
    """Send a press, moves and the release through napari's own callbacks."""
    from types import SimpleNamespace

    event = SimpleNamespace(button=1, modifiers=(), type="mouse_press", position=tuple(position))
    running = [callback(viewer, event) for callback in viewer.mouse_drag_callbacks]
    for kind in ["mouse_press", *["mouse_move"] * moves, "mouse_release"]:
        event.type = kind
        for one in running:
            next(one, None)


def test_napari_s_own_picker_shows_the_row(linked):
    layer, table, _ = linked
    layer.selected_label = 7
    assert table.chosen == 7
    layer.selected_label = 1000
    assert table.chosen is None


def test_a_removed_layer_leaves_an_empty_table(viewer, linked):
    layer, table, link = linked
    viewer.layers.remove(layer)
    assert table.model.rowCount() == 0
    assert not table.save_button.isEnabled()
    link.show_object(4)  # no layer: nothing to show, and no error


def test_the_table_is_saved_as_csv(linked, tmp_path, monkeypatch, qtbot):
    _, table, _ = linked
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "nuclei"), ""))
    with qtbot.waitSignal(table.saved):
        table.save_button.click()
    read = pd.read_csv(tmp_path / "nuclei.csv")
    pd.testing.assert_frame_equal(read, features().drop(columns="index"), check_dtype=False)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "gone" / "nuclei.csv"), ""))
    with qtbot.waitSignal(table.failed) as caught:
        table.save_button.click()
    assert "Choose another folder" in caught.args[0]


def test_the_extent_of_an_object():
    assert extent_of(squares(), 7) == ((59, 28), (62, 33))
    assert extent_of(squares(), 5) is None


def test_rows_without_a_label_column_count_from_zero(qtbot):
    model = MeasurementModel()
    model.show_table(pd.DataFrame({"area": [3.0, 1.0]}))
    model.sort(0)
    assert [model.label_at(row) for row in range(2)] == [1, 0]
