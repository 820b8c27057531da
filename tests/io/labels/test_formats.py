"""What holds for labels in every format: everything back, nothing overwritten, no half file, errors that name the file."""

import json
from pathlib import Path

import label_cases as cases
import numpy as np
import pytest
from PIL import Image

from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.registry import FORMATS, export_labels, format_of, import_labels, written_files
from napari_sdmae.labels.label_map import LabelMap

READABLE = [name for name, one in FORMATS.items() if one.keeps]
MEASURED = {"geojson", "ome-zarr", "png"}
WITH_NUCLEI = {"geojson", "ome-tiff", "ome-zarr", "png"}


@pytest.mark.parametrize("make", [cases.objects, cases.classes, cases.cells])
@pytest.mark.parametrize("format", READABLE)
def test_every_format_keeps_labels_scale_place_and_classes(format, make, nuclei, tmp_path):
    for labels in (nuclei, cases.hard()):
        label_map = make(labels)
        path = tmp_path / f"labels{FORMATS[format].suffixes[0]}"
        written = export_labels(label_map, path, format=format, overwrite=True)
        assert all(one.exists() for one in written)
        found = import_labels(path)
        if format == "coco-polygons":  # exact as well: only the rule of pycocotools for polygons differs
            np.testing.assert_array_equal(found.labels, label_map.labels)
        expected = label_map if format in WITH_NUCLEI else LabelMap(**(label_map.__dict__ | {"nuclei": None}))
        cases.assert_same(found, expected, measurements=format in MEASURED)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("format", READABLE)
def test_random_labels_in_every_format(format, seed, tmp_path):
    label_map = (cases.objects, cases.classes)[seed % 2](cases.random_labels(seed))
    path = tmp_path / f"labels{FORMATS[format].suffixes[0]}"
    export_labels(label_map, path, format=format)
    cases.assert_same(import_labels(path), label_map, measurements=format in MEASURED)


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_overwritten_without_being_asked(format, tmp_path):
    first, second = cases.objects(cases.hard()), cases.objects(np.rot90(cases.hard()).copy())
    path = tmp_path / f"labels{FORMATS[format].suffixes[0]}"
    export_labels(first, path, format=format)
    before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    with pytest.raises(FileExistsError, match="already there"):
        export_labels(second, path, format=format)
    assert {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()} == before
    export_labels(second, path, format=format, overwrite=True)
    if FORMATS[format].keeps:
        np.testing.assert_array_equal(import_labels(path).labels, second.labels)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")], "what was written aside is gone"


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_leaves_nothing_behind(format, tmp_path):
    broken = cases.objects(cases.hard(), class_of={1: "no number"}, measurements={})
    path = tmp_path / f"labels{FORMATS[format].suffixes[0]}"
    try:
        export_labels(broken, path, format=format)
    except (ValueError, TypeError):
        assert list(tmp_path.iterdir()) == []
    else:
        assert format == "csv"  # which needs the class of a label that is there only as text


def test_formats_by_the_ends_of_names():
    names = {"a.GeoJSON": "geojson", "a.geojson.gz": "geojson", "a.ome.tif": "ome-tiff", "a.tiff": "ome-tiff"}
    names |= {"a.ome.zarr": "ome-zarr", "a.zarr": "ome-zarr", "a.png": "png", "a.json": "coco", "a.csv": "csv"}
    assert {name: format_of(name) for name in names} == names
    assert format_of("a.json", "geojson") == "geojson"
    with pytest.raises(ValueError, match=r"expected one of \.geojson, \.ome\.tif, \.ome\.zarr, \.png, \.json, \.csv"):
        format_of("a.xyz")
    with pytest.raises(ValueError, match="expected one of geojson, ome-tiff"):
        format_of("a.png", "bmp")
    cells = cases.cells(cases.hard())
    assert [one.name for one in written_files(cells, Path("a.png"))] == ["a.png", "a.classes.json", "a.nuclei.png"]


def test_options_that_a_format_does_not_have(tmp_path):
    label_map = cases.objects(cases.hard())
    with pytest.raises(ValueError, match="object type and bounds given for PNG"):
        export_labels(label_map, tmp_path / "a.png", object_type="cell", bounds=(1.0, 2.0))
    with pytest.raises(ValueError, match="a table holds no labels"):
        import_labels(tmp_path / "a.csv")
    export_labels(label_map, tmp_path / "a.png")
    with pytest.raises(ValueError, match="shape given for a"):
        import_labels(tmp_path / "a.png", shape=(3, 3))


def test_json_may_be_coco_or_geojson(tmp_path):
    label_map = cases.objects(cases.hard())
    export_labels(label_map, tmp_path / "a.json", format="geojson")
    cases.assert_same(import_labels(tmp_path / "a.json"), label_map)
    export_labels(label_map, tmp_path / "a.json", overwrite=True)
    cases.assert_same(import_labels(tmp_path / "a.json"), label_map, measurements=False)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr", "a.png", "a.json", "a.geojson"])
def test_missing_and_damaged_files_name_the_file(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(InvalidLabelsError, match=name):
        import_labels(path)
    path.write_bytes(b"II*\0 this is no file of labels")
    with pytest.raises(InvalidLabelsError, match=name):
        import_labels(path)


def test_damaged_descriptions_are_said(tmp_path):
    export_labels(cases.objects(cases.hard()), tmp_path / "a.png")
    description = json.loads((tmp_path / "a.classes.json").read_text())
    for change in ({"classes": [{"name": "x"}]}, {"origin": None}, {"step": "wide"}):
        (tmp_path / "a.classes.json").write_text(json.dumps(description | change))
        with pytest.raises(InvalidLabelsError, match="description of its labels is damaged"):
            import_labels(tmp_path / "a.png")


def test_labels_like_others(tmp_path):
    label_map = cases.objects(cases.hard())
    Image.fromarray(cases.hard().astype(np.uint8)).save(tmp_path / "a.png")
    found = import_labels(tmp_path / "a.png", like=label_map, instances=True)
    assert (found.mpp, found.origin, found.step) == (label_map.mpp, label_map.origin, label_map.step)
    with pytest.raises(InvalidLabelsError, match="those they should lie on have"):
        import_labels(tmp_path / "a.png", like=cases.objects(np.zeros((2, 2), np.int32)))
