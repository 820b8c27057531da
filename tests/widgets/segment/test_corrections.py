"""Correcting labels with the brush: new objects, classes, parts, undo; what is saved is what fine-tuning reads."""

import csv
import json

import numpy as np
import pytest
import tifffile
from napari.utils.colormaps import DirectLabelColormap
from PIL import Image

from napari_sdmae.data.labelled.corrections import add_correction
from napari_sdmae.data.labelled.write import LabelledPicture
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.widgets.canvas import edit_labels as edit
from napari_sdmae.widgets.segment.corrections import CorrectionPanel

pytestmark = pytest.mark.gui
CLASSES = make_classes(["epithelial", "lymphocyte"], first=1)


def painted(viewer, instances=True):
    labels = np.zeros((60, 80), np.int32)
    labels[10:20, 10:30] = 1
    labels[40:50, 50:70] = 2
    colours = {0: np.zeros(4), None: np.zeros(4), 1: np.array([1, 0, 0, 1.0]), 2: np.array([0, 1, 0, 1.0])}
    mark = {"id": "a/labels", "name": "nuclei", "classes": CLASSES, "instances": instances}
    mark |= {"class_of": {1: 1, 2: 2}} if instances else {}
    layer = viewer.add_labels(
        labels, name="nuclei", metadata={METADATA_KEY: mark}, colormap=DirectLabelColormap(color_dict=colours)
    )
    edit.remember_original(layer)
    return layer


@pytest.fixture
def panel(viewer, dock):
    panel = CorrectionPanel(viewer)
    dock(viewer, panel, width=320)
    return panel


def stroke(layer, place):
    """Paint one dot with the label and brush chosen, as one stroke that can be undone."""
    with layer.block_history():
        layer.paint(place, 0 if layer.mode == "erase" else layer.selected_label)


def test_nothing_can_be_pressed_without_labels_that_mean_something(viewer, panel):
    assert "Choose labels with classes" in panel.about.text()
    assert not panel.paint.isEnabled()
    panel.watch(viewer.add_labels(np.zeros((8, 8), np.int32)))
    assert not panel.paint.isEnabled()
    assert not panel.save.isEnabled()


def test_a_new_object_is_painted_in_the_colour_of_its_class(viewer, panel):
    layer = painted(viewer)
    panel.watch(layer)
    layer.selected_label = 0
    panel.class_box.setCurrentIndex(1)
    panel.new.click()
    assert layer.selected_label == 3
    assert layer.mode == "paint"
    assert viewer.layers.selection.active is layer
    stroke(layer, (30, 5))
    assert layer.data[30, 5] == 3
    assert edit.class_value(layer, 3) == 2
    np.testing.assert_allclose(layer.get_color(3)[:3], np.array(CLASSES[1].colour) / 255, atol=0.01)
    assert "Object 3" in panel.about.text()
    panel.new.click()
    assert layer.selected_label == 4


def test_the_class_of_the_chosen_object_is_shown_and_changed(viewer, panel, qtbot):
    layer = painted(viewer)
    panel.watch(layer)
    layer.selected_label = 2
    assert panel.class_box.currentText() == "lymphocyte"
    layer.selected_label = 1
    assert panel.class_box.currentText() == "epithelial"
    with qtbot.waitSignal(panel.edited, timeout=5000):
        panel.class_box.setCurrentIndex(1)
        panel.class_box.activated.emit(1)
    assert edit.class_value(layer, 1) == 2
    np.testing.assert_allclose(layer.get_color(1)[:3], np.array(CLASSES[1].colour) / 255, atol=0.01)
    assert edit.is_corrected(layer)


def test_labels_of_classes_are_painted_with_the_class_chosen(viewer, panel):
    layer = painted(viewer, instances=False)
    panel.watch(layer)
    assert not panel.new.isVisible()
    assert not panel.split.isVisible()
    panel.class_box.setCurrentIndex(1)
    panel.class_box.activated.emit(1)
    assert (layer.selected_label, layer.mode) == (2, "paint")
    stroke(layer, (30, 30))
    assert layer.data[30, 30] == 2
    panel.erase.click()
    stroke(layer, (30, 30))
    assert layer.data[30, 30] == 0
    panel.look.click()
    assert layer.mode == "pan_zoom"
    panel.paint.click()
    assert layer.mode == "paint"


def test_strokes_are_told_once_after_a_pause_and_undo_takes_them_back(viewer, panel, qtbot):
    layer = painted(viewer)
    panel.watch(layer)
    told = []
    panel.edited.connect(lambda: told.append(edit.is_corrected(layer)))
    layer.selected_label = 1
    for column in (31, 33, 35):
        stroke(layer, (15, column))
    qtbot.waitUntil(lambda: told == [True], timeout=5000)
    for _ in range(3):
        panel.undo.click()
    qtbot.waitUntil(lambda: told == [True, False], timeout=5000)
    assert layer.data[15, 35] == 0
    viewer.scene.camera.zoom *= 2
    layer.refresh()
    qtbot.wait(1000)
    assert len(told) == 2  # nothing was changed


def test_a_label_chosen_in_napari_gets_a_class_so_that_it_can_be_seen(viewer, panel):
    layer = painted(viewer)
    panel.watch(layer)
    layer.selected_label = 77
    assert layer.get_color(77)[3] == 1
    assert edit.class_value(layer, 77) == 1


def test_parts_that_do_not_touch_become_objects_and_can_be_joined_again(viewer, panel):
    layer = painted(viewer)
    panel.watch(layer)
    layer.selected_label = 2
    panel.split.click()
    assert "in one part" in panel.state.text()
    layer.data[40:50, 63:65] = 0
    before = layer.data.copy()
    panel.split.click()
    assert panel.state.text() == "1 new object."
    assert (layer.data == 3).sum() == 50
    assert (layer.data == 2).sum() == 130
    assert layer.selected_label == 2
    assert edit.class_value(layer, 3) == 2
    panel.undo.click()
    np.testing.assert_array_equal(layer.data, before)


def test_a_layer_set_aside_is_no_longer_replaced(viewer):
    layer = painted(viewer)
    edit.detach_corrected(layer)
    assert layer.name == "nuclei (corrected)"
    assert layer.metadata[METADATA_KEY]["id"].startswith("corrected/")


def picture(name="slide-r0-c0", instances=True):
    labels = np.zeros((20, 30), np.int32)
    labels[2:6, 3:9], labels[10:14, 20:25] = 1, 2
    image = np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8)
    return LabelledPicture(name, image, labels, {1: 1, 2: 2} if instances else {}, slide="slide", mpp=0.25)


def add(folder, one, task="instances", classes=CLASSES, **more):
    return add_correction(one, folder, classes, task=task, unpainted=None, provenance={"head": "/runs/a"}, **more)


def test_one_picture_after_another_joins_the_folder(tmp_path):
    for name in ("slide-r0-c0", "slide-r0-c100"):
        file = add(tmp_path / "corrections", picture(name))
        np.testing.assert_array_equal(tifffile.imread(file), picture().image)
    folder = tmp_path / "corrections"
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert [(row["file"], row["slide"], row["mpp"]) for row in rows] == [
        ("images/slide-r0-c0.tif", "slide", "0.25"),
        ("images/slide-r0-c100.tif", "slide", "0.25"),
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / rows[1]["mask"])), picture().labels)
    types = np.asarray(Image.open(folder / rows[1]["types"]))
    assert (types[picture().labels == 2] == 2).all()
    assert [one["name"] for one in json.loads((folder / "classes.json").read_text())["classes"]] == ["epithelial", "lymphocyte"]
    assert set(json.loads((folder / "provenance.json").read_text())) == {row["file"] for row in rows}
    assert not list(folder.glob(".new*"))


def test_nothing_is_replaced_unasked_and_other_classes_stay_apart(tmp_path):
    folder = tmp_path / "corrections"
    add(folder, picture())
    before = (folder / "labels" / "slide-r0-c0.png").read_bytes()
    changed = picture()
    changed.labels[15:18, 3:6] = 3
    with pytest.raises(FileExistsError, match="saved already"):
        add(folder, changed)
    assert (folder / "labels" / "slide-r0-c0.png").read_bytes() == before
    add(folder, changed, replace=True)
    assert np.asarray(Image.open(folder / "labels" / "slide-r0-c0.png")).max() == 3
    assert len((folder / "table.csv").read_text().splitlines()) == 2
    with pytest.raises(ValueError, match="other classes"):
        add(folder, picture("other"), classes=make_classes(["tumour"], first=1))
    with pytest.raises(ValueError, match="another task"):
        add(folder, picture("other", instances=False), task="segmentation")
    assert len((folder / "table.csv").read_text().splitlines()) == 2


def test_what_was_saved_is_read_by_fine_tuning(tmp_path):
    from napari_sdmae.config.finetune import FinetuneConfig
    from napari_sdmae.data.labelled.read import read_labelled

    for name in ("a-r0-c0", "b-r0-c0", "c-r0-c0"):
        add(tmp_path / "corrections", picture(name))
    found = read_labelled(FinetuneConfig(task="instances", data=tmp_path / "corrections"))
    assert len(found.images) == 3
    assert [one.name for one in found.classes] == ["epithelial", "lymphocyte"]
    assert not found.unusable
