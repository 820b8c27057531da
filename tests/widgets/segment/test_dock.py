"""The Segment dock in a real viewer, with real heads in a real worker."""

import shutil
import sys

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels, Shapes
from PIL import Image
from qtpy.QtWidgets import QApplication

from napari_sdmae.inference.prediction.result import Box
from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.layers.base import Field, Source
from napari_sdmae.widgets.canvas import edit_labels as edit
from napari_sdmae.widgets.canvas.show_layers import update_layers
from napari_sdmae.widgets.segment.view import box_layer
from napari_sdmae.widgets.worker_client import query_worker
from napari_sdmae.worker.protocol import SegmentRequest

pytestmark = pytest.mark.gui
RGB = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)).resize((192, 128), Image.Resampling.BICUBIC)
)
ANGLE = np.deg2rad(30)
ROTATION = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
PLACE = {"scale": (0.5, 0.5), "translate": (30, -40), "rotate": ROTATION, "units": ("µm", "µm")}


@pytest.fixture
def widget(warm_worker, viewer, fresh_memory):
    _, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Segment")
    QApplication.processEvents()
    return widget


@pytest.fixture
def ready(viewer, widget):
    viewer.add_image(RGB, name="tile", **PLACE)
    return widget


def wait_done(qtbot):
    qtbot.waitUntil(lambda: not query_worker().busy, timeout=600_000)  # which only a hang reaches
    qtbot.wait(20)


def segment(qtbot, widget, head=None):
    if head is not None:
        widget.choose_head(head)
    widget.controls.button.click()
    wait_done(qtbot)
    assert widget.controls.failure.failure is None
    return widget.desk.labels.layer


def predicted(qtbot, widget, head, image, flips=False):
    """Submit a request to the worker directly."""
    results = []
    request = SegmentRequest(str(head), image, mpp=0.5, flips=flips)
    query_worker().submit(request, results.append, results.append, user=widget, purpose="test")
    qtbot.waitUntil(lambda: bool(results), timeout=90000)
    return results[0]


def test_the_reason_why_it_cannot_start_is_said(viewer, widget, model_folder, head_folders):
    reason = widget.controls.reason_line
    assert "Open a picture" in reason.text()
    assert not widget.controls.button.isEnabled()
    viewer.add_image(RGB)
    assert "Choose a head" in reason.text()
    widget.choose_head("/nowhere")
    assert "/nowhere" in reason.text()
    widget.choose_head(model_folder)
    assert "pre-trained model without a head" in reason.text()
    assert "Fine-tune it first" in reason.text()
    assert not widget.controls.button.isEnabled()
    widget.choose_head(head_folders / "segmentation")
    assert widget.controls.button.isEnabled()
    assert not reason.isVisible()
    head = widget.controls.head
    assert "a class for each pixel · 0.5 µm/px" in head.about.text()
    assert "Not yet evaluated on test images" in head.about.text()
    assert all(name in head.classes.text() for name in ("background", "tumour", "stroma"))
    assert not widget.controls.nuclei.isVisible()
    widget.choose_head(head_folders / "instances")
    assert widget.controls.nuclei.isVisible()
    assert widget.controls.smallest.get() == 2.0


def test_the_first_click_outlines_nuclei(as_shipped, viewer, widget, qtbot):
    """Nothing is chosen: the picture is the sample, the head the one that comes with the package."""
    viewer.open_sample("napari-sdmae", "nuclei")
    QApplication.processEvents()
    labels = segment(qtbot, widget)
    assert widget.controls.head.model == "nuclei"
    truth = next(layer for layer in viewer.layers if isinstance(layer, Labels) and layer is not labels)
    found, drawn = labels.data > 0, np.asarray(truth.data) > 0
    assert 2 * (found & drawn).sum() > 0.7 * (found.sum() + drawn.sum())
    assert len(np.unique(labels.data)) > 0.5 * len(np.unique(truth.data))


@pytest.mark.parametrize("region", ["Whole picture", "roi"])
def test_labels_lie_pixel_by_pixel_on_what_they_were_computed_on(viewer, ready, qtbot, head_folders, region):
    corners = np.array([[9.5, 19.5], [9.5, 149.5], [109.5, 149.5], [109.5, 19.5]])
    viewer.add_shapes([corners], name="roi", **PLACE)
    ready.controls.image.region_box.setCurrentText(region)
    ready.controls.probabilities.setChecked(True)
    labels = segment(qtbot, ready, head_folders / "segmentation")
    top, left, bottom, right = (0, 0, 128, 192) if region == "Whole picture" else (10, 20, 110, 150)
    crop = np.ascontiguousarray(RGB[top:bottom, left:right])
    truth = predicted(qtbot, ready, head_folders / "segmentation", crop)
    np.testing.assert_array_equal(labels.data, truth.label_map.labels)
    assert set(np.unique(labels.data)) > {1, 2}
    source = viewer.layers["tile"]
    for layer in [one for one in viewer.layers if one.name.startswith("tile · ")]:
        for row, column in [(0, 0), (0, right - left - 1), (bottom - top - 1, 0), (37, 41)]:
            expected = source.data_to_world((row + top, column + left))
            np.testing.assert_allclose(layer.data_to_world((row, column)), expected, atol=1e-9)
        assert layer.units == source.units
    assert [one.name for one in viewer.layers if "P(" in one.name] == [
        "tile · P(background)",
        "tile · P(tumour)",
        "tile · P(stroma)",
    ]
    total = sum(viewer.layers[f"tile · P({name})"].data for name in ("background", "tumour", "stroma"))
    np.testing.assert_allclose(total, 1, atol=0.01)
    mark = labels.metadata[METADATA_KEY]
    assert mark["origin"] == (top, left)
    assert mark["head_name"] == "segmentation"
    assert [one["name"] for one in mark["classes"]] == ["tumour", "stroma"]
    np.testing.assert_allclose(labels.get_color(1)[:3], np.array(mark["classes"][0]["colour"]) / 255, atol=0.01)
    assert "tumour" in ready.controls.state.text()
    assert ready.desk.table.model.rowCount() == 2
    assert "torch" not in sys.modules


def test_a_level_of_a_pyramid_is_read_at_the_head_s_scale(viewer, widget, qtbot, head_folders):
    fine = np.repeat(np.repeat(RGB, 2, 0), 2, 1)
    viewer.add_image([fine, RGB], name="tile", multiscale=True, scale=(0.25, 0.25), units=("µm", "µm"))
    labels = segment(qtbot, widget, head_folders / "segmentation")
    truth = predicted(qtbot, widget, head_folders / "segmentation", RGB)
    np.testing.assert_array_equal(labels.data, truth.label_map.labels)
    np.testing.assert_allclose(labels.data_to_world((0, 0)), (0.125, 0.125))
    mark = labels.metadata[METADATA_KEY]
    assert (mark["step"], mark["mpp"]) == (2, pytest.approx(0.25))


def test_objects_have_measurements_and_rows_that_belong_to_them(viewer, ready, qtbot, head_folders):
    ready.choose_head(head_folders / "instances")
    ready.controls.expand.set(1.0)
    labels = segment(qtbot, ready)
    table = ready.desk.table
    numbers = [value for value in np.unique(labels.data) if value]
    assert len(numbers) > 3
    assert sorted(table.model.label_at(row) for row in range(table.model.rowCount())) == numbers
    names = list(table.model.table.columns)
    assert names[:2] == ["label", "class"]
    area = next(name for name in names if name.lower().startswith("area"))
    rows = table.model.table
    for label, measured in zip(rows["label"], rows[area], strict=True):
        assert measured == pytest.approx((labels.data == label).sum() * 0.25)
    assert any("nucleus" in name.lower() for name in names)
    assert any("robability" in name for name in names)
    table.view.selectRow(2)
    assert labels.selected_label == table.model.label_at(2)
    assert viewer.layers["tile · labels · chosen object"].visible
    segment(qtbot, ready)
    assert labels.selected_label == 0
    assert table.chosen is None
    assert not viewer.layers["tile · labels · chosen object"].visible


def test_tiles_are_coloured_by_class_with_a_table_of_probabilities(viewer, ready, qtbot, head_folders):
    labels = segment(qtbot, ready, head_folders / "classification")
    assert not ready.controls.probabilities.isVisible()
    assert labels.data.shape == (2, 3)
    for tile, pixel in (((-0.5, -0.5), (-0.5, -0.5)), ((1.5, 2.5), (127.5, 191.5)), ((0.5, -0.5), (63.5, -0.5))):
        np.testing.assert_allclose(labels.data_to_world(tile), viewer.layers["tile"].data_to_world(pixel))
    rows = ready.desk.table.model.table
    chances = rows[[name for name in rows.columns if "robability" in name]].to_numpy(float)
    assert chances.shape == (6, 2)
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-3)
    best = np.array(["epithelial", "lymphocyte"])[chances.argmax(1)]
    assert rows["class"].tolist() == best.tolist()
    assert ready.controls.state.text().startswith("6 tiles found: ")
    ready.desk.save_corrections()
    assert "export tiles and boxes as COCO" in ready.desk.saving.failure.line


def test_boxes_have_class_and_score_and_lie_on_the_picture(viewer, ready, qtbot, head_folders):
    labels = segment(qtbot, ready, head_folders / "detection")
    truth = predicted(qtbot, ready, head_folders / "detection", RGB).boxes
    boxes = viewer.layers["tile · boxes"]
    assert isinstance(boxes, Shapes)
    assert len(boxes.data) == len(truth) > 0
    for shape, box in zip(boxes.data, truth, strict=True):
        np.testing.assert_allclose(shape.min(0), np.array([box.top, box.left]) - 0.5, atol=1e-4)
        np.testing.assert_allclose(shape.max(0), np.array([box.bottom, box.right]) - 0.5, atol=1e-4)
    np.testing.assert_allclose(boxes.features["score"], [box.score for box in truth])
    assert ready.controls.state.text().startswith(f"{len(truth):,} boxes found: ")  # also those that others cover
    assert set(boxes.features["class"]) <= {"epithelial", "lymphocyte"}
    np.testing.assert_allclose(boxes.data_to_world((0, 0)), viewer.layers["tile"].data_to_world((0, 0)))
    segment(qtbot, ready)
    assert len(boxes.data) == len(truth)
    assert viewer.layers["tile · labels"] is labels
    assert labels.opacity == 0.2  # the tissue in a box is what is looked at
    segment(qtbot, ready, head_folders / "instances")
    assert ready.desk.labels.layer is labels
    assert labels.opacity == 0.6
    labels.opacity = 0.5
    segment(qtbot, ready, head_folders / "detection")
    assert labels.opacity == 0.5


def test_mirrored_views_are_averaged_where_asked(ready, qtbot, head_folders):
    plain = segment(qtbot, ready, head_folders / "segmentation").data.copy()
    ready.controls.flips.setChecked(True)
    assert "--flips" in ready.controls.arguments
    labels = segment(qtbot, ready).data
    truth = predicted(qtbot, ready, head_folders / "segmentation", RGB, flips=True)
    np.testing.assert_array_equal(labels, truth.label_map.labels)
    assert (labels != plain).any()
    ready.choose_head(head_folders / "classification")
    assert not ready.controls.flips.isVisible()
    assert "--flips" not in ready.controls.arguments


def test_what_a_person_changed_survives_and_old_layers_are_marked(viewer, ready, qtbot, head_folders):
    ready.controls.probabilities.setChecked(True)
    labels = segment(qtbot, ready, head_folders / "segmentation")
    labels.name, labels.opacity, labels.visible = "mine", 0.2, False
    chance = viewer.layers["tile · P(tumour)"]
    chance.contrast_limits, chance.visible = (0.2, 0.4), True
    segment(qtbot, ready)
    assert ready.desk.labels.layer is labels
    assert (labels.name, labels.opacity, labels.visible) == ("mine", 0.2, False)
    assert (tuple(chance.contrast_limits), chance.visible) == ((0.2, 0.4), True)
    ready.controls.probabilities.setChecked(False)
    segment(qtbot, ready)
    assert not chance.visible
    assert "out of date" in chance.name


def test_a_failed_run_leaves_no_old_labels_unmarked(viewer, ready, qtbot, head_folders, tmp_path):
    labels = segment(qtbot, ready, head_folders / "segmentation")
    broken = shutil.copytree(head_folders / "segmentation", tmp_path / "broken")
    ready.choose_head(broken)
    (broken / "model.safetensors").write_bytes(b"nothing")  # after it was looked at: what is broken before cannot be chosen
    ready.controls.button.click()
    wait_done(qtbot)
    assert "model.safetensors" in ready.controls.failure.failure.line
    assert "Traceback" in ready.controls.failure.details().text.toPlainText()
    assert not labels.visible
    assert labels.name == "tile · labels (out of date)"
    assert ready.desk.labels.layer is None
    assert not ready.desk.export.button.isEnabled()
    again = segment(qtbot, ready, head_folders / "segmentation")
    assert again is labels
    assert labels.visible
    assert labels.name == "tile · labels"


def test_a_region_outside_of_the_picture_is_said(viewer, ready, qtbot, head_folders):
    ready.choose_head(head_folders / "segmentation")
    viewer.add_shapes([np.array([[500, 500], [500, 600], [600, 600], [600, 500]])], name="far")
    viewer.add_shapes(ndim=2, name="none")
    for name, message in (("far", "outside of the picture"), ("none", "Draw a rectangle")):
        ready.controls.image.region_box.setCurrentText(name)
        ready.controls.button.click()
        assert message in ready.controls.failure.failure.line
    assert not query_worker().busy


def test_a_killed_worker_is_said_and_cancel_ends_the_computing(viewer, ready, qtbot, head_folders, kill_the_worker):
    controls = ready.controls
    labels = segment(qtbot, ready, head_folders / "segmentation")
    kill_the_worker(controls.button.click)
    wait_done(qtbot)
    assert "stopped unexpectedly" in controls.failure.failure.line
    assert not labels.visible
    assert not controls.cancel.isVisible()
    controls.button.click()
    assert controls.cancel.isVisible()
    assert not controls.button.isEnabled()
    assert controls.state.text() == "Segmenting…"
    controls.cancel.click()
    wait_done(qtbot)
    assert controls.state.text() == "Cancelled."
    assert not controls.cancel.isVisible()
    assert controls.button.isEnabled()
    assert segment(qtbot, ready) is labels
    assert labels.visible


@pytest.mark.parametrize("choice", ["Keep both", "Replace", "Cancel"])
def test_corrected_labels_are_never_replaced_unasked(viewer, ready, qtbot, head_folders, choice, answer_box):
    labels = segment(qtbot, ready, head_folders / "segmentation")
    predicted = labels.data.copy()
    labels.data_setitem((np.array([3, 3]), np.array([4, 5])), 2 if predicted[3, 4] == 1 else 1)
    assert edit.is_corrected(labels)
    corrected = labels.data.copy()
    answer_box(choice)
    ready.controls.button.click()
    wait_done(qtbot)
    shown = [one for one in viewer.layers if isinstance(one, Labels)]
    if choice == "Keep both":
        assert [one.name for one in shown] == ["tile · labels (corrected)", "tile · labels"]
        np.testing.assert_array_equal(labels.data, corrected)
        np.testing.assert_array_equal(ready.desk.labels.layer.data, predicted)
    else:
        assert shown == [labels]
        np.testing.assert_array_equal(labels.data, corrected if choice == "Cancel" else predicted)


def test_the_copied_command_writes_the_same_labels(viewer, widget, qtbot, head_folders, tmp_path, type_command):
    Image.fromarray(RGB).save(tmp_path / "my tile.png")
    viewer.open(tmp_path / "my tile.png", plugin="napari", scale=(0.5, 0.5), units=("µm", "µm"))
    widget.choose_head(head_folders / "segmentation")
    assert widget.controls.command_line.text.toPlainText().startswith("sdmae predict")
    labels = segment(qtbot, widget)
    widget.controls.command_line.copy.click()
    type_command(f"{QApplication.clipboard().text()} --format png", tmp_path / "written")
    (file,) = (tmp_path / "written").rglob("*labels.png")
    told = np.asarray(Image.open(file))
    assert (told != labels.data).mean() < 0.001  # rounding, between processes of other numbers of threads


def test_it_fits_a_narrow_dock(ready, head_folders):
    ready.choose_head(head_folders / "instances")
    assert ready.widget().minimumSizeHint().width() <= 285


def test_boxes_of_another_number_take_the_place_of_the_old():
    viewer = ViewerModel()
    field = Field(Source.of(viewer.add_image(np.zeros((64, 64), np.uint8))), (0, 0), (64, 64))
    known = LabelMap(np.zeros((64, 64), np.int32), make_classes(["a", "b"], first=1), instances=True)
    for count in (3, 0, 5, 2):
        boxes = [Box(n, n, n + 5, n + 9, 1 + n % 2, 0.9) for n in range(count)]
        (layer,) = update_layers(viewer, [box_layer(field, boxes, known, {})])
        assert len(layer.data) == len(layer.features) == len(layer.edge_color) == count
        assert set(layer.shape_type) <= {"rectangle"}
    assert len(viewer.layers) == 2
