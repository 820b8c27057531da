"""Labels as COCO: everything back, and what pycocotools sees."""

import json

import label_cases as cases
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_sdmae.io.labels.coco.write import read_coco, read_coco_boxes, run_lengths, write_coco, write_coco_detections
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.labels.objects import Window


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
