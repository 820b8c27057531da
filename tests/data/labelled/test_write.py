"""What is painted becomes a folder that our reader and others' understand, with nothing lost and nothing overwritten."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.read import read_labelled
from napari_sdmae.data.labelled.write import LabelledPicture, free_value, write_coco_boxes, write_labelled_folder
from napari_sdmae.labels.label_map import make_classes

TISSUES = make_classes(["tumour", "stroma"], 1)


@pytest.fixture
def region(tissue):
    return np.asarray(Image.open(tissue / "regions" / "skin_morphea.jpg").convert("RGB"))[:128, :160]


@pytest.fixture
def strokes():
    labels = np.zeros((128, 160), np.int32)
    labels[10:30, 20:60], labels[80:100, 100:150] = 1, 2
    return labels


def test_painted_classes_are_read_back_by_other_programs(tmp_path, region, strokes):
    picture = LabelledPicture("skin: a/b", region, strokes, slide="skin", mpp=0.527)
    folder = write_labelled_folder([picture, picture], tmp_path / "new", TISSUES)
    table = pd.read_csv(folder / "table.csv")
    assert list(table["file"]) == ["images/skin-a-b.tif", "images/skin-a-b-2.tif"]
    assert list(table["slide"]) == ["skin", "skin"]
    assert table["mpp"].tolist() == [0.527, 0.527]
    mask = np.asarray(Image.open(folder / table["mask"][0]))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask == 255, strokes == 0)
    np.testing.assert_array_equal(mask[strokes > 0], strokes[strokes > 0])
    with tifffile.TiffFile(folder / table["file"][0]) as file:
        np.testing.assert_array_equal(file.asarray(), region)
        numerator, denominator = file.pages[0].tags["XResolution"].value
        assert 1e4 / (numerator / denominator) == pytest.approx(0.527, rel=1e-3)
    named = json.loads((folder / "classes.json").read_text())["classes"]
    assert [(one["value"], one["name"]) for one in named] == [(1, "tumour"), (2, "stroma")]


def test_the_folder_is_what_fine_tuning_reads(tmp_path, region, strokes):
    pictures = [LabelledPicture(f"skin {n}", region, strokes, slide=f"slide {n}", mpp=0.5) for n in range(4)]
    folder = write_labelled_folder(pictures, tmp_path / "new", TISSUES)
    labelled = read_labelled(FinetuneConfig(task="segmentation", data=folder))
    assert [one.name for one in labelled.classes] == ["tumour", "stroma"]
    assert len(labelled.images) == 4
    assert {image.group for image in labelled.images} == {f"slide slide {n}" for n in range(4)}
    assert {image.mpp for image in labelled.images} == {0.5}
    painted = {1: int((strokes == 1).sum()), 2: int((strokes == 2).sum())}
    assert all(dict(image.counts) == painted for image in labelled.images)


def test_what_is_not_painted_may_be_background(tmp_path, region, strokes):
    classes = make_classes(["background", "tumour", "stroma"])
    folder = write_labelled_folder([LabelledPicture("a", region, strokes)], tmp_path / "new", classes, unpainted=None)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "masks" / "a.png")), strokes)


@pytest.mark.parametrize(
    ("most", "ending", "dtype"), [(7, "png", np.uint8), (40_000, "png", np.uint16), (70_000, "tif", np.uint32)]
)
def test_object_numbers_of_any_size_stay_themselves(tmp_path, region, most, ending, dtype):
    labels = np.zeros((128, 160), np.int32)
    labels[:5, :5], labels[50:60, 50:60] = 1, most
    picture = LabelledPicture("nuclei", region, labels, class_of={1: 2, most: 1})
    types = make_classes(["tumour", "lymphocyte"], 1)
    folder = write_labelled_folder([picture], tmp_path / "new", types, task="instances")
    path = folder / "labels" / f"nuclei.{ending}"
    read = tifffile.imread(path) if ending == "tif" else np.asarray(Image.open(path))
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, labels)
    kinds = np.asarray(Image.open(folder / "types" / "nuclei.png"))
    assert np.unique(kinds[labels == 1]).tolist() == [2]
    assert np.unique(kinds[labels == most]).tolist() == [1]
    assert not kinds[labels == 0].any()


def test_boxes_are_read_by_pycocotools_and_by_fine_tuning(tmp_path, region):
    from pycocotools.coco import COCO

    boxes = [(10.0, 20.0, 40.0, 60.0, 1), (-5.0, 100.0, 30.0, 140.0, 2), (500.0, 0.0, 600.0, 9.0, 1)]
    pictures = [LabelledPicture("a", region, boxes=boxes, slide="s"), LabelledPicture("empty", region, slide="t")]
    path = write_coco_boxes(pictures, tmp_path / "boxes", TISSUES)
    coco = COCO(str(path))
    assert coco.getImgIds() == [1, 2]
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert (first["bbox"], first["category_id"]) == ([10.0, 20.0, 30.0, 40.0], 1)
    assert (second["bbox"], second["category_id"]) == ([0.0, 100.0, 30.0, 28.0], 2)  # cut at the edge; the third lies outside
    assert coco.getAnnIds(imgIds=[2]) == []
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["tumour", "stroma"]
    labelled = read_labelled(FinetuneConfig(task="detection", data=path))
    assert {len(image.boxes) for image in labelled.images} == {0, 2}
    assert {image.group for image in labelled.images} == {"slide s", "slide t"}


def test_a_value_that_is_a_class_never_means_not_learned(tmp_path, region, strokes):
    assert free_value([1, 2]) == 255
    assert free_value([1, 255]) == 65535
    assert free_value([255, 65535]) == 65534
    odd = make_classes(["dense"], 255)
    with pytest.raises(ValueError, match="255 means not painted and is a class"):
        write_labelled_folder([LabelledPicture("a", region, strokes)], tmp_path / "new", odd)


def test_wrong_pictures_and_full_folders_are_refused_in_words(tmp_path, region, strokes):
    with pytest.raises(ValueError, match="nothing is painted"):
        write_labelled_folder([LabelledPicture("a", region, strokes * 0)], tmp_path / "new", TISSUES)
    with pytest.raises(ValueError, match="expected the same"):
        write_labelled_folder([LabelledPicture("a", region, strokes[1:])], tmp_path / "new", TISSUES)
    with pytest.raises(ValueError, match="no labelled pictures"):
        write_labelled_folder([], tmp_path / "new", TISSUES)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="nothing is overwritten"):
        write_labelled_folder([LabelledPicture("a", region, strokes)], tmp_path / "full", TISSUES)
    assert not (tmp_path / "new").exists()
