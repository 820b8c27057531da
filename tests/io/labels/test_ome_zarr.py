"""Labels as OME-Zarr: everything back, and what ome-zarr-models and zarr see."""

import json
import subprocess
from pathlib import Path

import label_cases as cases
import numpy as np
import pytest
import zarr

from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.ome_zarr.write import read_label_zarr, write_label_zarr
from napari_sdmae.io.labels.pyramid import level

ROOT = Path(__file__).parents[3]
VALIDATOR = ROOT / ".venv-ome-zarr" / "bin" / "python"


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
    label_map = cases.cells(cases.big())
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
    label_map = cases.objects(cases.big())
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
