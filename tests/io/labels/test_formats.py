"""Labels as OME-TIFF, OME-Zarr, PNG, COCO and CSV: everything back, and what readers that are not ours see."""

import json
import subprocess
import warnings
from pathlib import Path
from xml.etree import ElementTree

import label_cases as cases
import numpy as np
import pandas as pd
import pytest
import qupath_reader as qupath
import tifffile
import zarr
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_sdmae.io.images.read import read_mpp
from napari_sdmae.io.labels.coco.write import read_coco, read_coco_boxes, run_lengths, write_coco, write_coco_detections
from napari_sdmae.io.labels.csv import label_table
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.ome_tiff import read_label_tiff, write_label_tiff
from napari_sdmae.io.labels.ome_zarr.write import read_label_zarr, write_label_zarr
from napari_sdmae.io.labels.png import read_label_png, write_label_png
from napari_sdmae.io.labels.pyramid import level
from napari_sdmae.io.labels.registry import FORMATS, export_labels, format_of, import_labels, written_files
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.objects import Window

ROOT = Path(__file__).parents[3]
VALIDATOR = ROOT / ".venv-ome-zarr" / "bin" / "python"
READABLE = [name for name, one in FORMATS.items() if one.keeps]
MEASURED = {"geojson", "ome-zarr", "png"}
WITH_NUCLEI = {"geojson", "ome-tiff", "ome-zarr", "png"}


@pytest.fixture(autouse=True)
def no_silent_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.fixture(scope="module")
def nuclei(tissue):
    return cases.tissue_nuclei(tissue)


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


# --- OME-TIFF --------------------------------------------------------------------------------------------------------------


def big(shape=(1400, 1100)):
    labels = np.zeros(shape, np.int32)
    labels[100:900, 50:700] = 3
    labels[150:200, 300:1099] = 258
    labels[-1, -1] = 1
    return labels


def test_ome_tiff_is_a_tiled_pyramid_of_picked_pixels(tmp_path):
    label_map = cases.objects(big())
    write_label_tiff(label_map, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        series = file.series[0]
        assert [one.shape for one in series.levels] == [(1400, 1100), (700, 550), (350, 275)]
        assert series.dtype == np.uint16
        assert file.pages[0].is_tiled
        assert file.pages[0].compression.name == "ADOBE_DEFLATE"
        assert len(file.pages[0].subifds) == 2
        for number, one in enumerate(series.levels):
            np.testing.assert_array_equal(one.asarray(), level(label_map.labels, number))
        pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
    assert float(pixels.get("PhysicalSizeX")) == pytest.approx(label_map.label_mpp)
    assert pixels.get("PhysicalSizeXUnit") == "µm"
    plane = pixels.find("{*}Plane")
    assert float(plane.get("PositionX")) == pytest.approx((20.5 + 0.5) * 0.2526)
    assert float(plane.get("PositionY")) == pytest.approx((1034 + 0.5) * 0.2526)
    assert read_mpp(tmp_path / "a.ome.tif") == pytest.approx(label_map.label_mpp)


def test_pillow_and_openslide_read_the_tiff(tmp_path):
    import openslide

    label_map = cases.classes(big() % 4)
    write_label_tiff(label_map, tmp_path / "a.ome.tif")
    with Image.open(tmp_path / "a.ome.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), label_map.labels)
    with openslide.OpenSlide(tmp_path / "a.ome.tif") as slide:
        assert slide.dimensions == (1100, 1400)
        red = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., 0]
    np.testing.assert_array_equal(red, label_map.labels)


@pytest.mark.parametrize("number", range(4))
def test_a_picked_pixel_is_in_the_middle_of_what_it_stands_for(number):
    labels = np.arange(37, dtype=np.int32)[:, None] * np.ones((1, 33), np.int32)
    rows = level(labels, number)[:, 0]
    middles = np.arange(len(rows)) * 2**number + (2**number - 1) / 2
    assert np.abs(rows - middles).max() <= 0.5


def test_a_tiff_of_another_program(tmp_path):
    labels = cases.hard()
    tifffile.imwrite(tmp_path / "a.tif", labels.astype(np.uint8), resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    found = read_label_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.instances, found.mpp) == (False, 0.5)
    assert found.class_named(3).name == "class 3"
    tifffile.imwrite(tmp_path / "b.tif", labels.astype(np.uint16))
    assert read_label_tiff(tmp_path / "b.tif").instances
    tifffile.imwrite(tmp_path / "c.tif", np.eye(3, dtype=np.uint8)[None], photometric="rgb")
    tifffile.imwrite(tmp_path / "d.tif", np.full((20, 20), 0.5, np.float32))
    for name, problem in {"c": "one value per pixel", "d": "whole numbers"}.items():
        with pytest.raises(InvalidLabelsError, match=problem):
            read_label_tiff(tmp_path / f"{name}.tif")


# --- OME-Zarr --------------------------------------------------------------------------------------------------------------

VALIDATE = """
import json, sys, zarr
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.labels import Labels
root = zarr.open_group(sys.argv[1], mode="r")
image = Image.from_zarr(root)
labels = Labels.from_zarr(root["labels"])
found = {}
for name in labels.label_paths:
    one = ImageLabel.from_zarr(root["labels"][name]).attributes.ome
    level = one.multiscales[0].datasets[0]
    found[name] = {
        "unit": str(one.multiscales[0].axes[0].unit),
        "transforms": [change.model_dump(mode="json") for change in level.coordinateTransformations],
        "colours": {color.label_value: color.rgba for color in one.image_label.colors},
        "names": {prop.label_value: prop.model_dump()["class"] for prop in one.image_label.properties},
        "levels": len(one.multiscales[0].datasets),
    }
print(json.dumps(found))
"""


def validate(path):
    """Return what ome-zarr-models, in its own environment, says of the labels in `path`; an error if it refuses them."""
    assert VALIDATOR.exists(), f"{VALIDATOR.parent.parent} is missing, in which ome-zarr-models validates: run make setup"
    done = subprocess.run([VALIDATOR, "-c", VALIDATE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_ome_zarr_is_valid_and_says_scale_place_and_names(tmp_path):
    label_map = cases.cells(big())
    write_label_zarr(label_map, tmp_path / "a.ome.zarr")
    found = validate(tmp_path / "a.ome.zarr")
    assert list(found) == ["labels", "labels-nuclei"]
    one = found["labels"]
    assert (one["unit"], one["levels"]) == ("micrometer", 3)
    scale, translation = one["transforms"]
    assert scale["scale"] == pytest.approx([0.5052, 0.5052])
    assert translation["translation"] == pytest.approx([1034.5 * 0.2526, 21.0 * 0.2526])
    assert one["names"] == {str(label): label_map.class_at(label).name for label in (1, 3, 258)}
    assert one["colours"]["3"] == [*label_map.class_at(3).colour, 255]


def test_zarr_itself_reads_every_level(tmp_path):
    label_map = cases.objects(big())
    write_label_zarr(label_map, tmp_path / "a.ome.zarr")
    root = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    multiscale = root.attrs["ome"]["multiscales"][0]
    for number, dataset in enumerate(multiscale["datasets"]):
        np.testing.assert_array_equal(root[dataset["path"]][...], level(label_map.labels, number))
        scale, translation = (change[change["type"]] for change in dataset["coordinateTransformations"])
        assert scale[0] == pytest.approx(0.5052 * 2**number)
        assert translation[0] - scale[0] / 2 == pytest.approx((1034 - 0.5) * 0.2526), "all levels begin at one corner"


def picture(path, levels=2):
    """Write an OME-Zarr picture as another program would."""
    root = zarr.create_group(path, zarr_format=3)
    datasets = []
    for number in range(levels):
        array = root.create_array(
            str(number), shape=(3, 64 >> number, 48 >> number), dtype="uint8", dimension_names=("c", "y", "x")
        )
        array[...] = 7
        scale = {"type": "scale", "scale": [1.0, 0.5 * 2**number, 0.5 * 2**number]}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    axes = [{"name": "c", "type": "channel"}, *({"name": one, "type": "space", "unit": "micrometer"} for one in "yx")]
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}


def test_labels_beside_a_picture(tmp_path):
    path = tmp_path / "image.ome.zarr"
    picture(path)
    label_map = cases.objects(cases.random_labels(3))
    write_label_zarr(label_map, path, name="nuclei")
    write_label_zarr(cases.classes(cases.hard()), path, name="tissue")
    found = validate(path)
    assert {name: one["levels"] for name, one in found.items()} == {"nuclei": 2, "tissue": 2}
    assert (zarr.open_group(path, mode="r")["0"][...] == 7).all()
    cases.assert_same(read_label_zarr(path, name="nuclei"), label_map)
    cases.assert_same(read_label_zarr(path / "labels" / "nuclei"), label_map)
    with pytest.raises(InvalidLabelsError, match="nuclei, tissue in it: say which"):
        read_label_zarr(path)
    with pytest.raises(FileExistsError, match="already holds labels nuclei"):
        write_label_zarr(label_map, path, name="nuclei")
    write_label_zarr(cases.objects(cases.hard()), path, name="nuclei", overwrite=True)
    np.testing.assert_array_equal(read_label_zarr(path, name="nuclei").labels, cases.hard())
    assert list(validate(path)) == ["nuclei", "tissue"]


def test_a_folder_that_is_no_ome_zarr_is_never_replaced(tmp_path):
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="no OME-Zarr"):
        write_label_zarr(cases.objects(cases.hard()), tmp_path / "mine.zarr", overwrite=True)
    assert (tmp_path / "mine.zarr" / "thesis.txt").exists()
    with pytest.raises(ValueError, match="the name of a folder"):
        write_label_zarr(cases.objects(cases.hard()), tmp_path / "b.ome.zarr", name="../b")


def test_labels_of_another_program(tmp_path):
    """Version 0.4: attributes at the top, zarr 2, five axes."""
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    labels = group.create_group("labels")
    labels.attrs["labels"] = ["cells"]
    one = labels.create_group("cells")
    array = one.create_array("0", shape=(1, 1, 1, 24, 30), dtype="int32", chunks=(1, 1, 1, 24, 30))
    array[0, 0, 0] = cases.hard()
    axes = [{"name": name} for name in "tcz"] + [{"name": name, "type": "space", "unit": "nanometer"} for name in "yx"]
    changes = [{"type": "scale", "scale": [1, 1, 1, 250, 250]}, {"type": "translation", "translation": [0, 0, 0, 2500, 500]}]
    one.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": changes}]}]
    one.attrs["image-label"] = {
        "colors": [{"label-value": 3, "rgba": [9, 8, 7, 255]}],
        "properties": [{"label-value": 3, "class": "a"}, {"label-value": 4, "class": "a"}],
    }
    found = read_label_zarr(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found.labels, cases.hard())
    assert (found.instances, found.mpp, found.origin) == (True, 0.25, (10.0, 2.0))
    assert (found.class_at(4).name, found.class_at(4).colour) == ("a", (9, 8, 7))
    with pytest.raises(InvalidLabelsError, match="no labels 'x'"):
        read_label_zarr(tmp_path / "a.zarr", name="x")


# --- PNG -------------------------------------------------------------------------------------------------------------------


def test_png_in_8_and_16_bits_as_pillow_sees_it(tmp_path):
    for factor, mode in ((1, "L"), (5000, "I;16")):
        labels = cases.hard() * factor
        write_label_png(cases.objects(labels), tmp_path / "a.png", overwrite=True)
        with Image.open(tmp_path / "a.png") as image:
            assert image.mode == mode
            np.testing.assert_array_equal(np.asarray(image), labels)
    with pytest.raises(ValueError, match="a label of 72000: PNG holds at most 65,535"):
        write_label_png(cases.objects(cases.hard() * 6000), tmp_path / "b.png")


def test_indexed_png_shows_the_classes_colours(tmp_path):
    label_map = cases.classes(cases.hard())
    write_label_png(label_map, tmp_path / "a.png", indexed=True)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        colours = np.asarray(image.convert("RGB"))
    for one in cases.CLASSES:
        assert (colours[label_map.labels == one.value] == one.colour).all()
    cases.assert_same(read_label_png(tmp_path / "a.png"), label_map)


def test_a_bare_png_and_a_classes_file_of_another_picture(tmp_path):
    write_label_png(cases.classes(cases.hard()), tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    found = read_label_png(tmp_path / "b.png", mpp=0.5)
    assert [one.name for one in found.classes] == ["class 1", "class 2", "class 5"]
    assert read_label_png(tmp_path / "b.png", instances=True).class_at(5).name == "object"
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InvalidLabelsError, match="of another picture"):
        read_label_png(tmp_path / "a.png")
    Image.fromarray(np.eye(3, dtype=np.uint8)[None]).save(tmp_path / "c.png")
    with pytest.raises(InvalidLabelsError, match="a colour picture"):
        read_label_png(tmp_path / "c.png")


def test_nuclei_of_earlier_cells_do_not_stay(tmp_path):
    export_labels(cases.cells(cases.hard()), tmp_path / "a.png")
    export_labels(cases.objects(cases.hard()), tmp_path / "a.png", overwrite=True)
    assert import_labels(tmp_path / "a.png").nuclei is None


# --- COCO ------------------------------------------------------------------------------------------------------------------


def loaded(path, capsys):
    coco = COCO(str(path))
    capsys.readouterr()
    return coco


def test_pycocotools_sees_the_same_pixels(nuclei, tmp_path, capsys):
    label_map = cases.objects(nuclei)
    write_coco(label_map, tmp_path / "a.json")
    coco = loaded(tmp_path / "a.json", capsys)
    assert {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())} == {one.value: one.name for one in cases.CLASSES}
    seen = np.zeros_like(nuclei)
    for one in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(one).astype(bool)
        seen[mask] = one["id"]
        assert one["area"] == mask.sum()
        box = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, np.uint8)))
        assert one["bbox"] == box.tolist()
        assert one["category_id"] == label_map.class_at(one["id"]).value
    np.testing.assert_array_equal(seen, nuclei)


def test_run_lengths_are_pycocotools_own(nuclei):
    generator = np.random.default_rng(0)
    for _ in range(60):
        shape = tuple(generator.integers(1, 12, 2).tolist())
        mask = generator.random(shape) < generator.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        counts = run_lengths(mask, Window(1, slice(0, shape[0]), slice(0, shape[1])), shape)
        ours = coco_mask.frPyObjects({"size": list(shape), "counts": counts}, *shape)
        theirs = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        assert ours == theirs, "equal when compressed: not one run more than needed"


def test_compressed_run_lengths_of_pycocotools_are_read(nuclei, tmp_path):
    annotations = []
    for number, label in enumerate(np.unique(nuclei[nuclei > 0]).tolist(), 1):
        code = coco_mask.encode(np.asfortranarray(nuclei == label, np.uint8))
        segmentation = {"size": code["size"], "counts": code["counts"].decode()}
        annotations.append({"id": number + 100, "image_id": 9, "category_id": 2, "segmentation": segmentation})
    data = {
        "images": [{"id": 9, "file_name": "x.png", "height": nuclei.shape[0], "width": nuclei.shape[1]}],
        "annotations": annotations,
        "categories": [{"id": 2, "name": "nucleus"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(data))
    found = read_coco(tmp_path / "a.json", mpp=0.5)
    np.testing.assert_array_equal(found.labels, nuclei)
    assert (found.class_at(1).name, found.source, found.mpp) == ("nucleus", "x.png", 0.5)


def test_polygons_agree_with_pycocotools(nuclei, tmp_path, capsys):
    """Its rule for polygons rounds corners to a fifth of a pixel: nearly the same pixels."""
    write_coco(cases.objects(nuclei), tmp_path / "a.json", segmentation="polygon")
    coco = loaded(tmp_path / "a.json", capsys)
    kinds = set()
    wrong = 0
    for one in coco.loadAnns(coco.getAnnIds()):
        kinds.add(type(one["segmentation"]))
        wrong += np.count_nonzero(coco.annToMask(one).astype(bool) != (nuclei == one["id"]))
    assert kinds == {list, dict}, "objects with holes stay run lengths"
    assert wrong < 0.1 * np.count_nonzero(nuclei)


def test_boxes_of_a_detection_head(tmp_path, capsys):
    boxes = np.array([[1, 2, 11, 7], [0.5, 0, 3.25, 4]], np.float32)
    about = {"size": (40, 60), "image": "a.png", "mpp": 0.5, "origin": (8.0, 9.0)}
    write_coco_detections(boxes, [1, 2], cases.CLASSES, tmp_path / "a.json", scores=[0.9, 0.25], **about)
    coco = loaded(tmp_path / "a.json", capsys)
    assert [one["bbox"] for one in coco.loadAnns(coco.getAnnIds())] == [[1, 2, 10, 5], [0.5, 0, 2.75, 4]]
    found = read_coco_boxes(tmp_path / "a.json")
    np.testing.assert_array_equal(found.boxes, boxes)
    assert (found.values.tolist(), found.scores.tolist(), found.size) == ([1, 2], [0.9, 0.25], (40, 60))
    assert found.classes == cases.CLASSES
    assert json.loads((tmp_path / "a.json").read_text())["info"]["origin"] == [8.0, 9.0]
    with pytest.raises(ValueError, match="2 boxes, 1 classes"):
        write_coco_detections(boxes, [1], cases.CLASSES, tmp_path / "b.json", size=(4, 4))
    with pytest.warns(UserWarning, match="without a mask: 2"):
        read_coco(tmp_path / "a.json")


def test_coco_of_several_pictures_and_damaged_ones(tmp_path):
    path = tmp_path / "a.json"
    write_coco(cases.objects(cases.hard()), path)
    data = json.loads(path.read_text())
    data["images"].append(data["images"][0] | {"id": 2, "file_name": "other.png"})
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidLabelsError, match=r"2 pictures in it \(skin µ.svs, other.png\): say which \(--image\)"):
        read_coco(path)
    assert not read_coco(path, image="other.png").labels.any()
    data["images"].pop()
    data["annotations"][0]["segmentation"]["counts"].append(3)
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidLabelsError, match=r"an annotation is damaged .*run lengths of 723 px"):
        read_coco(path)


# --- CSV -------------------------------------------------------------------------------------------------------------------


def test_the_table_as_pandas_reads_it(nuclei, tmp_path):
    label_map = cases.objects(nuclei)
    export_labels(label_map, tmp_path / "a.csv")
    table = pd.read_csv(tmp_path / "a.csv", encoding="utf-8-sig").set_index("label")
    assert list(table.index) == np.unique(nuclei[nuclei > 0]).tolist()
    for label in list(table.index)[::7]:
        rows, columns = np.nonzero(nuclei == label)
        row = table.loc[label]
        assert row["class"] == label_map.class_at(label).name
        assert row["area (µm²)"] == pytest.approx(len(rows) * 4 * 0.2526**2, rel=1e-6)
        assert row["centroid x (px)"] == pytest.approx(20.5 + (columns.mean() + 0.5) * 2, rel=1e-6)
        assert row["centroid y (µm)"] == pytest.approx((1034 + (rows.mean() + 0.5) * 2) * 0.2526, rel=1e-6)
    np.testing.assert_allclose(table["Area µm^2"], label_map.measurements["Area µm^2"])
    assert table["P(Tumour)"].isna().sum() == 1


def test_the_centroid_of_the_table_is_that_of_the_outline(tmp_path):
    label_map = cases.objects(cases.hard())
    export_labels(label_map, tmp_path / "a.geojson")
    table = label_table(label_map).set_index("label")
    one = next(one for one in qupath.read(tmp_path / "a.geojson") if one.metadata["label"] == "3")
    assert one.roi.centroid.x == pytest.approx(table.loc[3, "centroid x (px)"], abs=0.02)
    assert one.roi.centroid.y == pytest.approx(table.loc[3, "centroid y (px)"], abs=0.02)


def test_tables_without_scale_or_measurements(tmp_path):
    table = label_table(cases.classes(cases.hard(), mpp=None))
    assert list(table.columns) == ["label", "class", "class value", "centroid x (px)", "centroid y (px)", "area (px²)"]
    assert table["area (px²)"].sum() == np.count_nonzero(cases.classes(cases.hard()).labels)
    assert len(label_table(cases.objects(np.zeros((3, 3), np.int32), measurements={}))) == 0


# --- All -------------------------------------------------------------------------------------------------------------------


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
