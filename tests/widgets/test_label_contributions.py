"""File > Save and File > Open of labels and shapes, in a real viewer."""

import json
import sys
import warnings
from pathlib import Path

import label_cases as cases
import numpy as np
import pytest
import qupath_reader as qupath
import tifffile
from napari.layers import Labels
from npe2.io_utils import read as read_layer_data

from napari_sdmae.io.labels.registry import InvalidLabelsError, export_labels, import_labels
from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.layers.base import Field, Source
from napari_sdmae.layers.labels import labels_layer, layer_label_map, probability_layers
from napari_sdmae.widgets.canvas.open_folder import show_folder

pytestmark = pytest.mark.gui
PLUGIN = "napari-sdmae"
ENDS = [".geojson", ".geojson.gz", ".ome.tif", ".ome.zarr", ".png", ".json"]
REOPENED = {
    ".geojson": "labels.geojson",
    ".ome.tif": "labels.ome.tif",
    ".ome.zarr": "",
    ".png": "labels.classes.json",
}


def shown(viewer, label_map, place=None, **options):
    data, attributes, kind = labels_layer(label_map, place, **options)
    assert kind == "labels"
    return viewer.add_labels(data, **attributes)


def of_layer(layer):
    data, attributes, _ = layer.as_layer_data_tuple()
    return layer_label_map(data, attributes)


def test_a_layer_holds_the_whole_label_map(viewer):
    for label_map in (cases.objects(cases.hard()), cases.classes(cases.hard()), cases.cells(cases.hard())):
        layer = shown(viewer, label_map)
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        np.testing.assert_allclose(layer.scale, label_map.label_mpp)
        cases.assert_same(of_layer(layer), label_map)
        for label in (1, 5):
            colour = np.array(label_map.class_at(label).colour) / 255
            np.testing.assert_allclose(layer.get_color(label)[:3], colour, atol=1e-6)
        assert layer.get_color(0) is None or layer.get_color(0)[3] == 0


def test_the_status_bar_says_class_and_measurements():
    label_map = cases.objects(cases.hard())
    data, attributes, _ = labels_layer(label_map)
    layer = Labels(data, **attributes)
    status = layer.get_status(layer.data_to_world((2, 11)), world=True)["value"]
    assert status.startswith(f"3; class: {label_map.class_at(3).name}")
    assert "Area µm^2" in status


def test_labels_lie_on_the_pixels_they_were_computed_on(viewer):
    """Step 4 from (10, 20) of an image in µm that is shifted and turned: corners agree in the world."""
    image = viewer.add_image(
        np.zeros((200, 300)), scale=(0.5, 0.5), translate=(3, 4), rotate=20, units=("µm", "µm"), name="slide"
    )
    field = Field(Source.of(image), (10, 20), (24, 30), 4.0)
    label_map = cases.objects(cases.hard(), mpp=0.5, origin=(10.0, 20.0), step=4.0)
    layer = shown(viewer, label_map, field, provenance={"head": "runs/nuclei"})
    assert layer.name == "slide · labels"
    assert layer.metadata[METADATA_KEY]["head"] == "runs/nuclei"
    np.testing.assert_allclose(layer.data_to_world((-0.5, -0.5)), image.data_to_world((9.5, 19.5)))
    np.testing.assert_allclose(layer.data_to_world((23.5, 29.5)), image.data_to_world((9.5 + 96, 19.5 + 120)))
    cases.assert_same(of_layer(layer), label_map)
    chances = np.stack([cases.hard() % 2 * 255, cases.hard() % 3 * 100]).astype(np.uint8)
    maps = probability_layers(chances, ["Tumour", 2], label_map, field)
    assert [attributes["name"] for _, attributes, _ in maps] == ["slide · P(Tumour)", f"slide · P({cases.CLASSES[1].name})"]
    first = viewer.add_image(maps[0][0], **maps[0][1])
    assert (first.data.min(), first.data.max()) == (0, 1)
    np.testing.assert_allclose(first.data_to_world((0, 0)), layer.data_to_world((0, 0)))


def test_labels_save_and_come_back(viewer, tmp_path):
    layer = shown(viewer, cases.cells(cases.hard()), name="before")
    for end in ENDS:
        viewer.layers.selection.active = layer
        save_and_open(viewer, layer, end, tmp_path)


def save_and_open(viewer, layer, end, tmp_path):
    label_map = cases.cells(cases.hard())
    path = tmp_path / f"labels{end}"
    written = viewer.layers.save(str(path), selected=True, plugin=PLUGIN)
    assert Path(written[0]).name == path.name
    kept = label_map if end != ".json" else cases.objects(cases.hard())
    cases.assert_same(import_labels(path), kept, measurements=end not in (".ome.tif", ".json"))
    if end in REOPENED:
        (opened,) = viewer.open(str(tmp_path / REOPENED[end]), plugin=PLUGIN) if REOPENED[end] else show_folder(viewer, path)
        assert opened.name.startswith("labels")
        cases.assert_same(of_layer(opened), label_map, measurements=end != ".ome.tif")
        np.testing.assert_allclose(opened.extent.world, layer.extent.world)
        np.testing.assert_allclose(opened.get_color(3), layer.get_color(3))
    if end == ".geojson":
        assert {one.kind for one in qupath.read(path)} == {"cell"}


def test_saving_again_replaces_and_a_table_can_be_saved(viewer, tmp_path):
    layer = shown(viewer, cases.objects(cases.hard()))
    for _ in range(2):
        viewer.layers.save(str(tmp_path / "a.csv"), selected=True, plugin=PLUGIN)
        viewer.layers.save(str(tmp_path / "a.geojson"), selected=True, plugin=PLUGIN)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8-sig").startswith("label,class,class value,")
    layer.data[12:16, 12:16] = 3
    layer.save(str(tmp_path / "a.geojson"), plugin=PLUGIN)
    np.testing.assert_array_equal(import_labels(tmp_path / "a.geojson").labels, layer.data)


def test_a_painted_layer_saves_as_classes_with_its_colours(viewer, tmp_path):
    layer = viewer.add_labels(np.zeros((40, 50), int), scale=(0.25, 0.25), translate=(5, 10), units=("µm", "µm"), name="mine")
    layer.colormap = {1: "red", 2: (0, 0, 1, 1), None: "white"}
    layer.features = {"index": [1, 2], "class": ["gland", "fat"]}
    layer.selected_label, layer.brush_size = 2, 9
    layer.paint((20, 30), 2)
    layer.paint((5, 5), 7)
    layer.save(str(tmp_path / "a.geojson"), plugin=PLUGIN)
    found = import_labels(tmp_path / "a.geojson")
    np.testing.assert_array_equal(found.labels, layer.data)
    assert (found.mpp, found.origin, found.step) == (0.25, (20.0, 40.0), 1.0)
    names = {one.value: (one.name, one.colour) for one in found.classes}
    assert names[2] == ("fat", (0, 0, 255))
    assert names[7][0] == "class 7"
    assert {one.kind for one in qupath.read(tmp_path / "a.geojson")} == {"annotation"}


def test_layers_of_unknown_make():
    plain = of_layer(Labels(cases.hard()))
    assert (plain.mpp, plain.origin, plain.step, plain.instances) == (None, (0.0, 0.0), 1.0, False)
    coarse = of_layer(Labels(cases.hard(), scale=(4, 4), translate=(101.5, 1.5)))
    assert (coarse.mpp, coarse.origin, coarse.step) == (None, (100.0, 0.0), 4.0)
    pyramid = of_layer(Labels([cases.hard(), cases.hard()[::2, ::2]], multiscale=True))
    np.testing.assert_array_equal(pyramid.labels, cases.hard())
    np.testing.assert_array_equal(of_layer(Labels(cases.hard()[None])).labels, cases.hard())
    many = of_layer(Labels(np.arange(400).reshape(20, 20)))
    assert many.instances
    with pytest.raises(ValueError, match="expected one plane"):
        of_layer(Labels(np.zeros((2, 9, 9), int)))
    with pytest.raises(ValueError, match="square pixels"):
        of_layer(Labels(cases.hard(), scale=(1, 2)))


def test_what_was_painted_over_is_a_nucleus_no_more():
    data, attributes, _ = labels_layer(cases.cells(cases.hard()))
    layer = Labels(data, **attributes)
    layer.data[0:9, 9:14] = 0
    found = of_layer(layer)
    assert not (found.nuclei == 3).any()
    assert (found.nuclei == 1).any()


def test_shapes_save_as_annotations(viewer, tmp_path):
    layer = viewer.add_shapes(
        [
            np.array([[9.5, 19.5], [9.5, 39.5], [29.5, 39.5], [29.5, 19.5]]),
            np.array([[40, 40], [40, 60], [60, 60], [60, 40]]),
            np.array([[0, 0], [10, 10], [0, 10], [10, 0]]),
            np.array([[0, 0], [50, 50]]),
        ],
        shape_type=["rectangle", "ellipse", "polygon", "path"],
        edge_color=["red", "lime", "blue", "white"],
        features={"class": ["Tumour", "", "Stroma", "x"]},
        scale=(0.5, 0.5),
        units=("µm", "µm"),
        name="regions",
    )
    with pytest.warns(UserWarning, match="Skipped 1 path: it encloses no area"):
        layer.save(str(tmp_path / "a.geojson"), plugin=PLUGIN)
    rectangle, ellipse, crossed = qupath.read(tmp_path / "a.geojson")
    assert rectangle.roi.bounds == (20, 10, 40, 30)
    assert (rectangle.class_name, rectangle.colour, rectangle.kind) == ("Tumour", (255, 0, 0), "annotation")
    assert ellipse.class_name is None
    assert ellipse.roi.area == pytest.approx(np.pi * 100, rel=2e-3)
    assert crossed.roi.geom_type == "MultiPolygon", "an outline that crosses itself becomes two that do not"
    empty = viewer.add_shapes([np.array([[0, 0], [9, 9]])], shape_type="line")
    with pytest.raises(RuntimeError, match="no shape encloses an area"):
        empty.save(str(tmp_path / "b.geojson"), plugin=PLUGIN)
    assert not (tmp_path / "b.geojson").exists()


def annotation(coordinates, kind="annotation"):
    properties = {"objectType": kind, "classification": {"name": "Tumor", "color": [200, 0, 0]}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": coordinates}, "properties": properties}


def ring(x, y, edge):
    return [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]


def test_qupaths_annotations_open_as_shapes_and_go_back(viewer, tmp_path):
    (tmp_path / "q.geojson").write_text(json.dumps([annotation([ring(10, 20, 4)]), annotation([ring(40, 20, 8)])]))
    (layer,) = viewer.open(str(tmp_path / "q.geojson"), plugin=PLUGIN)
    assert (layer._type_string, layer.name, layer.nshapes) == ("shapes", "q", 2)
    np.testing.assert_allclose(layer.data[0].min(axis=0), (19.5, 9.5))
    np.testing.assert_allclose(layer.edge_color[0][:3], (200 / 255, 0, 0), atol=1e-6)
    layer.save(str(tmp_path / "back.geojson"), plugin=PLUGIN)
    first, second = qupath.read(tmp_path / "back.geojson")
    assert (first.roi.bounds, second.roi.bounds) == ((10, 20, 14, 24), (40, 20, 48, 28))
    assert (first.class_name, first.colour) == ("Tumor", (200, 0, 0))


def test_holes_and_detections_open_as_labels(viewer, tmp_path):
    with_hole = [ring(0, 0, 9), ring(3, 3, 3)]
    data = [annotation(with_hole), annotation([ring(40, 0, 4)], "detection"), annotation([ring(60, 0, 6)])]
    (tmp_path / "q.geojson").write_text(json.dumps(data))
    labels, shapes = viewer.open(str(tmp_path / "q.geojson"), plugin=PLUGIN)
    assert (labels._type_string, shapes._type_string, shapes.nshapes) == ("labels", "shapes", 1)
    assert np.bincount(labels.data.ravel()).tolist()[1:] == [72, 16]


def test_a_reader_takes_whatever_it_is_offered_for_or_says_what_is_wrong(tmp_path, viewer):
    tifffile.imwrite(tmp_path / "my labels.ome.tif", cases.hard().astype(np.uint8))
    data, _, kind = read_layer_data([str(tmp_path / "my labels.ome.tif")], stack=False, plugin_name=PLUGIN)[0]
    np.testing.assert_array_equal(data, cases.hard())
    assert kind == "labels"
    tifffile.imwrite(tmp_path / "picture-labels.ome.tif", np.full((9, 9), 0.5, np.float32))
    (tmp_path / "a.classes.json").write_text("{}")
    (tmp_path / "b.geojson").write_text("[")
    for name, told in (("picture-labels.ome.tif", "float32"), ("a.classes.json", "a.png"), ("b.geojson", "b.geojson")):
        with pytest.raises(InvalidLabelsError, match=told):
            read_layer_data([str(tmp_path / name)], stack=False, plugin_name=PLUGIN)


def test_no_warning_and_no_torch_while_exporting(tmp_path):
    data, attributes, _ = labels_layer(cases.objects(cases.hard()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        export_labels(of_layer(Labels(data, **attributes)), tmp_path / "a.geojson")
    assert "torch" not in sys.modules
