"""GeoJSON: every export through QuPath's rules, every pixel there and back, and files of other writers."""

import copy
import gzip
import json
import sys
import types

import label_cases as cases
import numpy as np
import pytest
import qupath_reader as qupath
import shapely

from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.geojson.write import feature, geometry_of, read_geojson, write_geojson
from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.labels.outlines import fill, outlines


def written(label_map, path, **options):
    write_geojson(label_map, path, overwrite=True, **options)
    return qupath.read(path)


def check_round_trip(label_map, path, **options):
    """QuPath's rules hold, shapely sees the same pixels as the labels, and reading gives everything back."""
    objects = written(label_map, path, **options)
    shape, place = label_map.labels.shape, (label_map.origin, label_map.step)
    np.testing.assert_array_equal(qupath.raster(objects, shape, *place), label_map.labels)
    if label_map.nuclei is not None:
        np.testing.assert_array_equal(qupath.nuclei_raster(objects, shape, *place), label_map.nuclei)
    for one in objects:
        known = label_map.class_at(int(one.metadata["label"]))
        assert (one.class_name, one.colour) == (known.name, known.colour)
    cases.assert_same(read_geojson(path), label_map)
    return objects


def test_nuclei_of_tissue_come_back_pixel_for_pixel(tissue, tmp_path):
    label_map = cases.objects(cases.tissue_nuclei(tissue))
    objects = check_round_trip(label_map, tmp_path / "nuclei.geojson")
    assert {one.kind for one in objects} == {"detection"}
    first = objects[0]
    assert first.measurements["Area µm^2"] == label_map.measurements["Area µm^2"][0]
    assert "P(Tumour)" in first.measurements
    assert "P(Tumour)" not in objects[1].measurements, "a number that is none must be left out"


def test_classes_of_tissue_are_one_annotation_each(tissue, tmp_path):
    label_map = cases.classes(cases.tissue_nuclei(tissue))
    objects = check_round_trip(label_map, tmp_path / "classes.geojson")
    assert [(one.kind, one.name) for one in objects] == [("annotation", one.name) for one in cases.CLASSES]


def test_cells_hold_their_nuclei(tissue, tmp_path):
    label_map = cases.cells(cases.tissue_nuclei(tissue))
    objects = check_round_trip(label_map, tmp_path / "cells.geojson")
    assert {one.kind for one in objects} == {"cell"}
    assert any(one.nucleus is None for one in objects)
    assert any(one.nucleus is not None and one.nucleus.geom_type == "MultiPolygon" for one in objects)


@pytest.mark.parametrize("make", [cases.objects, cases.classes, cases.cells])
def test_hard_shapes(make, tmp_path):
    check_round_trip(make(cases.hard()), tmp_path / "hard.geojson.gz")
    assert gzip.decompress((tmp_path / "hard.geojson.gz").read_bytes()).startswith(b'{"type": "FeatureCollection"')


@pytest.mark.parametrize("seed", range(60))
def test_random_labels(seed, tmp_path):
    generator = np.random.default_rng(seed)
    make = (cases.objects, cases.classes, cases.cells)[seed % 3]
    place = {"step": float(generator.choice([0.7, 1.0, 2.37, 4.0, 32.0])), "origin": tuple(generator.uniform(0, 9e4, 2).tolist())}
    label_map = make(cases.random_labels(seed))
    check_round_trip(LabelMap(**(label_map.__dict__ | place)), tmp_path / "random.geojson")


def test_hand_worked_coordinates(tmp_path):
    """One pixel at row 2, column 3 of labels that begin at (100, 1000) with step 4: its centre is x 1014, y 110."""
    labels = np.zeros((5, 6), np.int32)
    labels[2, 3] = 7
    label_map = LabelMap(labels, make_classes(["a"], 1), instances=True, origin=(100.0, 1000.0), step=4.0)
    (one,) = written(label_map, tmp_path / "one.geojson")
    assert one.roi.centroid.coords[0] == (1014, 110)
    assert one.roi.bounds == (1012, 108, 1016, 112)


def test_area_is_that_of_the_pixels_but_for_cut_corners():
    labels = np.zeros((40, 50), bool)
    labels[5:35, 5:45] = True
    ((ring,),) = outlines(labels)
    assert len(ring) == 9, "straight edges need no points between their ends"
    assert shapely.Polygon(ring).area == 30 * 40 - 0.5


def test_fill_agrees_with_shapely_on_polygons_drawn_by_hand():
    generator = np.random.default_rng(3)
    y, x = np.mgrid[:30, :40] + 0.5
    for _ in range(30):
        angle = np.sort(generator.uniform(0, 2 * np.pi, generator.integers(3, 20)))
        radius = generator.uniform(3, 18, len(angle))
        ring = np.stack([20 + radius * np.cos(angle), 15 + radius * np.sin(angle)], axis=1)
        ring = np.concatenate([ring, ring[:1]])
        expected = shapely.contains_xy(shapely.Polygon(ring), x, y)
        np.testing.assert_array_equal(fill([ring], (30, 40)), expected)


def test_shapes_side_by_side_share_no_pixel():
    """The edge passes through pixel centres: each belongs to exactly one of two neighbours."""
    left = np.array([[0.5, 0.5], [4.5, 0.5], [4.5, 5.5], [0.5, 5.5], [0.5, 0.5]])
    right = left + (4, 0)
    both = fill([left], (8, 12)).astype(int) + fill([right], (8, 12))
    assert both.max() == 1
    assert both.sum() == 8 * 5


def test_bounds_of_a_slide_are_subtracted_and_come_back(tmp_path, monkeypatch):
    label_map = cases.objects(cases.hard())
    plain = written(label_map, tmp_path / "plain.geojson")
    slide = tmp_path / "slide.mrxs"
    slide.write_bytes(b"")
    properties = {"openslide.bounds-x": "300", "openslide.bounds-y": "40", "openslide.bounds-width": "9"}

    class Slide:
        def __init__(self, path):
            self.properties = properties

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setitem(sys.modules, "openslide", types.SimpleNamespace(OpenSlide=Slide, OpenSlideError=OSError))
    moved = written(label_map, tmp_path / "moved.geojson", bounds=slide)
    for before, after in zip(plain, moved, strict=True):
        assert after.roi.equals(shapely.transform(before.roi, lambda points: points - (300, 40)))
    cases.assert_same(read_geojson(tmp_path / "moved.geojson"), label_map)
    data = json.loads((tmp_path / "moved.geojson").read_text())
    (tmp_path / "foreign.geojson").write_text(json.dumps(data["features"]))
    back = read_geojson(tmp_path / "foreign.geojson", bounds=slide, like=label_map)
    np.testing.assert_array_equal(back.labels, label_map.labels)


def test_bounds_need_openslide_and_a_slide(tmp_path, monkeypatch):
    label_map = cases.objects(cases.hard())
    with pytest.raises(InvalidLabelsError, match="there is no slide"):
        write_geojson(label_map, tmp_path / "a.geojson", bounds=tmp_path / "none.svs")
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(InvalidLabelsError, match="OpenSlide cannot read"):
        write_geojson(label_map, tmp_path / "a.geojson", bounds=tmp_path / "text.svs")
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(ValueError, match="not installed"):
        write_geojson(label_map, tmp_path / "a.geojson", bounds=tmp_path / "text.svs")
    assert not (tmp_path / "a.geojson").exists()


def test_a_slide_without_bounds_is_left_as_it_is(tissue, tmp_path):
    label_map = cases.objects(cases.hard())
    slide = tissue / "regions" / "duodenum_celiac-disease.ome.tif"
    moved = written(label_map, tmp_path / "a.geojson", bounds=slide)
    plain = written(label_map, tmp_path / "b.geojson")
    assert [one.roi for one in moved] == [one.roi for one in plain]


def test_what_cannot_be_written_is_refused(tmp_path):
    path = tmp_path / "a.geojson"
    label_map = cases.cells(cases.hard())
    outside = LabelMap(**(label_map.__dict__ | {"nuclei": np.where(cases.hard() == 0, 3, 0)}))
    with pytest.raises(ValueError, match="nucleus 3 reaches out of its cell"):
        write_geojson(outside, path)
    with pytest.raises(ValueError, match="cannot be cells"):
        write_geojson(cases.classes(cases.hard()), path, object_type="cell")
    with pytest.raises(ValueError, match="expected one of annotation, detection, cell"):
        write_geojson(label_map, path, object_type="tile")
    with pytest.raises(ValueError, match="a label of -1"):
        write_geojson(cases.objects(np.full((2, 2), -1, np.int32), class_of={}, measurements={}), path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.geojson"
    write_geojson(cases.objects(cases.hard()), path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="already there"):
        write_geojson(cases.classes(cases.hard()), path)
    broken = cases.objects(cases.hard(), source=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_geojson(broken, path, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_empty_labels(tmp_path):
    label_map = cases.objects(np.zeros((4, 5), np.int32), measurements={})
    assert written(label_map, tmp_path / "empty.geojson") == []
    cases.assert_same(read_geojson(tmp_path / "empty.geojson"), label_map)


def test_large_numbers_of_objects_are_kept(tmp_path):
    labels = cases.hard()
    labels[labels == 8] = 2_000_000_000
    check_round_trip(cases.objects(labels), tmp_path / "large.geojson")


# --- QuPath's rules are really checked -------------------------------------------------------------------------------------

SQUARE = [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]


def good(kind="cell"):
    return feature(
        {"type": "Polygon", "coordinates": copy.deepcopy(SQUARE)},
        kind,
        classification=make_classes(["a"], 1)[0],
        nucleus={"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]} if kind == "cell" else None,
        measurements={"x": 1.0},
        metadata={"label": "1"},
    )


BROKEN = {
    "without a colour": lambda one: one["properties"]["classification"].pop("color"),
    "object type": lambda one: one["properties"].update(objectType="nucleus"),
    "not closed": lambda one: one["geometry"]["coordinates"][0].pop(),
    "measurement": lambda one: one["properties"]["measurements"].update(x=float("nan")),
    "of 1 part": lambda one: one.update(geometry={"type": "MultiPolygon", "coordinates": [SQUARE]}),
    "out of its cell": lambda one: one["nucleusGeometry"].update(coordinates=[[[1, 1], [9, 1], [2, 2], [1, 1]]]),
    "no UUID": lambda one: one.update(id="PathCellObject"),
    "clockwise": lambda one: one["geometry"]["coordinates"][0].reverse(),
    "not valid": lambda one: one["geometry"].update(coordinates=[[[0, 0], [4, 0], [4, 4], [2, -1], [0, 4], [0, 0]]]),
    "a detection with": lambda one: one["properties"].update(objectType="detection"),
    "no geometry": lambda one: one.pop("geometry"),
    "metadata": lambda one: one["properties"]["metadata"].update(label=1),
    "class name": lambda one: one["properties"]["classification"].update(name=" "),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_the_qupath_reader_throws(problem):
    assert len(qupath.read_data([good()])) == 1
    broken = good()
    BROKEN[problem](broken)
    with pytest.raises(qupath.QuPathError, match=problem):
        qupath.read_data([broken])


def test_the_qupath_reader_takes_no_constants(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([good() | {"properties": {"objectType": "cell", "measurements": {"x": float("inf")}}}]))
    with pytest.raises(qupath.QuPathError, match="Infinity"):
        qupath.read(path)


# --- files of other writers ------------------------------------------------------------------------------------------------


def by_hand(coordinates, kind="annotation", name=None, colour=None, **more):
    properties = {"objectType": kind, "isLocked": True}
    if name is not None:
        properties["classification"] = {"name": name} | ({} if colour is None else {"color": colour})
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": coordinates}, "properties": properties | more}


def box(x, y, width, height):
    return [[[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]]


def save(data, path):
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("wrapped", ["collection", "list", "feature"])
def test_collections_lists_and_single_features(wrapped, tmp_path):
    one = by_hand(box(10, 20, 4, 3), name="Tumor", colour=[1, 2, 3])
    data = {"collection": {"type": "FeatureCollection", "features": [one]}, "list": [one], "feature": one}[wrapped]
    found = read_geojson(save(data, tmp_path / "a.geojson"), mpp=0.25)
    assert found.labels.shape == (3, 4)
    assert (found.labels == 1).all()
    assert (found.origin, found.mpp, found.instances) == ((20.0, 10.0), 0.25, False)
    assert [(one.name, one.colour) for one in found.classes] == [("Tumor", (1, 2, 3))]


def test_annotations_by_class_and_detections_by_object(tmp_path):
    data = [
        by_hand(box(0, 0, 4, 4), name="Tumor", colour=[1, 2, 3]),
        by_hand(box(6, 0, 4, 4)),
        by_hand(box(0, 6, 4, 4), name="Tumor", colour=[1, 2, 3]),
    ]
    found = read_geojson(save(data, tmp_path / "a.geojson"), shape=(12, 14))
    assert found.labels.shape == (12, 14)
    assert found.origin == (0.0, 0.0)
    assert [one.name for one in found.classes] == ["Tumor", "unclassified"]
    assert np.bincount(found.labels.ravel()).tolist() == [12 * 14 - 48, 32, 16]
    for one in data:
        one["properties"]["objectType"] = "detection"
    found = read_geojson(save(data, tmp_path / "b.geojson"), shape=(12, 14))
    assert found.instances
    assert np.bincount(found.labels.ravel()).tolist() == [12 * 14 - 48, 16, 16, 16]
    assert dict(found.class_of) == {1: 1, 2: 2, 3: 1}
    assert not read_geojson(tmp_path / "b.geojson", instances=False).instances


def test_of_equal_objects_the_later_lies_on_top_and_it_is_said(tmp_path):
    data = [by_hand(box(0, 0, 6, 6), name="a"), by_hand(box(3, 3, 6, 6), name="b")]
    with pytest.warns(
        UserWarning, match=r"1 object lies over others: where it does, the smaller one \(of equal ones the later\) is kept"
    ):
        found = read_geojson(save(data, tmp_path / "a.geojson"))
    assert np.bincount(found.labels.ravel()).tolist() == [18, 27, 36]


def test_points_and_lines_are_left_out_and_it_is_said(tmp_path):
    line = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}, "properties": {}}
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}, "properties": {}}
    nothing = {"type": "Feature", "geometry": None, "properties": None}
    data = [line, by_hand(box(0, 0, 2, 2)), point, point, nothing]
    with pytest.warns(UserWarning, match="skipped 1 LineString, 2 Points, 1 empty feature: they"):
        assert read_geojson(save(data, tmp_path / "a.geojson")).labels.sum() == 4


def test_objects_smaller_than_a_pixel_are_said(tmp_path):
    data = [by_hand(box(0, 0, 5, 5)), by_hand(box(7.6, 7.6, 0.2, 0.2))]
    with pytest.warns(UserWarning, match="1 object covers no pixel"):
        read_geojson(save(data, tmp_path / "a.geojson"))


def test_old_qupath_files(tmp_path):
    """Before 0.4: type as id, colour as one signed integer, measurements as a list, NaN in them, children nested."""
    child = by_hand(box(2, 2, 2, 2), kind="detection")
    old = {
        "type": "Feature",
        "id": "PathCellObject",
        "geometry": {"type": "Polygon", "coordinates": box(0, 0, 6, 6)},
        "nucleusGeometry": {"type": "Polygon", "coordinates": box(1, 1, 3, 2)},
        "properties": {
            "classification": {"name": "Tumor", "colorRGB": -3670016},
            "measurements": [{"name": "Area", "value": 36.0}, {"name": "Odd", "value": float("nan")}],
        },
    }
    found = read_geojson(save([old], tmp_path / "a.geojson"))
    assert found.instances
    assert (found.classes[0].name, found.classes[0].colour) == ("Tumor", (200, 0, 0))
    assert int((found.nuclei == 1).sum()) == 6
    assert found.measurements["Area"].tolist() == [36.0]
    assert np.isnan(found.measurements["Odd"]).all()
    old["properties"]["childObjects"] = [child]
    with pytest.warns(UserWarning, match="1 object lies over"):
        assert read_geojson(save([old], tmp_path / "b.geojson")).labels.max() == 2


def test_our_numbers_survive_qupath(tmp_path):
    """QuPath writes the features anew without what stands beside them, but with metadata."""
    for label_map in (cases.objects(cases.hard()), cases.classes(cases.hard())):
        write_geojson(label_map, tmp_path / "a.geojson", overwrite=True)
        features = json.loads((tmp_path / "a.geojson").read_text())["features"]
        found = read_geojson(save({"type": "FeatureCollection", "features": features}, tmp_path / "b.geojson"), like=label_map)
        np.testing.assert_array_equal(found.labels, label_map.labels)
        assert [found.class_at(3).name, found.class_at(5).name] == [label_map.class_at(3).name, label_map.class_at(5).name]


def test_huge_extents_are_drawn_coarser_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sdmae.io.labels.geojson.read.MOST_PIXELS", 10_000)
    path = save([by_hand(box(0, 0, 40, 40)), by_hand(box(300, 300, 40, 40))], tmp_path / "a.geojson")
    with pytest.warns(UserWarning, match="340 × 340 px are drawn"):
        found = read_geojson(path)
    assert (found.step, found.labels.shape) == (4.0, (85, 85))
    assert np.count_nonzero(found.labels) == 200
    assert read_geojson(path, step=2.0).labels.shape == (170, 170)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON"),
        ('{"type": "FeatureCollection", "features": [', "no JSON"),
        ('{"type": "Topology"}', "no GeoJSON features"),
        ("3", "no GeoJSON features"),
        ('{"type": "FeatureCollection", "features": []}', "no areas in it"),
        ('[{"type": "Feature", "geometry": {"type": "Polygon"}}]', "feature 1 is damaged"),
        ('[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 1e999], [1, 1], [2, 0]]]}}]', "feature 1 is"),
        ('[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 1e300], [1, 1], [2, 0]]]}}]', "feature 1 is"),
        ("[3]", "feature 1 is damaged"),
    ],
)
def test_bad_files_are_refused_in_one_line(text, problem, tmp_path):
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(InvalidLabelsError, match=problem) as error:
        read_geojson(tmp_path / "a.geojson")
    assert "\n" not in str(error.value)


def test_missing_files_folders_and_torn_archives(tmp_path):
    with pytest.raises(InvalidLabelsError, match="no such file"):
        read_geojson(tmp_path / "none.geojson")
    with pytest.raises(InvalidLabelsError, match="a folder"):
        read_geojson(tmp_path)
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(b"[]")[:-9])
    with pytest.raises(InvalidLabelsError, match="cut short"):
        read_geojson(tmp_path / "a.geojson.gz")


def test_a_geometry_of_one_polygon_is_no_multipolygon():
    ring = np.array([[0, 0], [1, 0], [1, 1], [0, 0]], float)
    assert geometry_of([[ring]])["type"] == "Polygon"
    assert geometry_of([[ring], [ring + 5]])["type"] == "MultiPolygon"
