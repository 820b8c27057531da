"""Labels of other programs: how they write classes, ids and overlapping objects, and files made to fill the memory."""

import json
import unicodedata
import warnings

import numpy as np
import pytest
from skimage.measure import label

from napari_sdmae.io.labels.coco.write import read_coco, read_coco_boxes
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.geojson.write import read_geojson
from napari_sdmae.io.labels.registry import import_labels, pictures_in


def box(x, y, width, height):
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]


def feature(ring, **properties):
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def save(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def heard(read, *arguments, **options):
    """Return what `read` returns, and its warnings."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        found = read(*arguments, **options)
    return found, [str(note.message) for note in notes]


class TestClasses:
    @pytest.mark.parametrize(
        ("properties", "name", "colour"),
        [
            ({"classification": {"name": "Tumor: Positive", "color": [1, 2, 3]}}, "Tumor: Positive", (1, 2, 3)),
            ({"classification": {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}}, "Tumor: Positive", (1, 2, 3)),
            ({"classification": {"name": "Tumor", "colorRGB": -3670016}}, "Tumor", (200, 0, 0)),
            ({"classification": "Tumor", "color": "#c80000"}, "Tumor", (200, 0, 0)),
            ({"objectType": "annotation", "name": "Region 3", "classification": None}, "unclassified", None),
            ({"type": "neoplastic", "prob": 0.7}, "neoplastic", None),
            ({"type": 3}, "3", None),
            ({"taxonomy": "immune", "name": "cell 7", "color": [9, 8, 7]}, "immune", (9, 8, 7)),
            ({"object_type": "Lymphocyte"}, "Lymphocyte", None),
            ({"object_type": "detection", "name": "Lymphocyte"}, "Lymphocyte", None),
            ({"label": unicodedata.normalize("NFD", "Drüse"), "color": "nonsense"}, "Drüse", None),
            ({"class": "Stroma"}, "Stroma", None),
            ({"category": 0}, "0", None),
        ],
    )
    def test_as_each_program_writes_them(self, tmp_path, properties, name, colour):
        found, said = heard(read_geojson, save(tmp_path / "a.geojson", [feature(box(0, 0, 2, 2), **properties)]))
        assert [one.name for one in found.classes] == [name]
        assert colour is None or found.classes[0].colour == colour
        assert said == []

    def test_that_are_not_understood_are_counted(self, tmp_path):
        data = [feature(box(4 * place, 0, 2, 2), cell_kind="a") for place in range(3)]
        _, said = heard(read_geojson, save(tmp_path / "a.geojson", data))
        assert said == ["3 objects have no class that is understood (cell_kind?): called unclassified"]

    @pytest.mark.parametrize("wrapped", [True, False])
    def test_nuclei_of_hover_net_are_the_pixels_that_opencv_traced(self, tmp_path, wrapped):
        """Contours as cv2.findContours gives them: the outermost pixels, here of a square, a line, a point and a diamond."""
        contours = [[[2, 3], [2, 6], [5, 6], [5, 3]], [[9, 1], [12, 1]], [[14, 8]], [[9, 6], [8, 7], [9, 8], [10, 7]]]
        nuclei = {
            str(number): {"bbox": [[0, 0], [1, 1]], "centroid": [0, 0], "contour": contour, "type": number % 2, "type_prob": 0.5}
            for number, contour in enumerate(contours, 1)
        }
        names = {"0": "other", "1": ["tumour", [255, 0, 0]]}
        path = save(tmp_path / "a.json", {"mag": 40, "nuc": nuclei, "type_map": names} if wrapped else nuclei)
        found = import_labels(path, shape=(10, 16))
        expected = np.zeros((10, 16), int)
        expected[3:7, 2:6], expected[1, 9:13], expected[8, 14] = 1, 2, 3
        expected[6, 9] = expected[7, 8:11] = expected[8, 9] = 4
        np.testing.assert_array_equal(found.labels, expected)
        assert found.instances
        assert [found.class_at(number).name for number in (1, 2)] == (["tumour", "other"] if wrapped else ["type 1", "type 0"])
        assert found.measurements["type probability"].tolist() == [0.5] * 4


def coco(path, categories, ids, **changes):
    """Write squares of 4 px side by side, one of each category id."""
    annotations = [
        {"id": number, "image_id": 7, "category_id": one, "bbox": [5 * number, 0, 4, 4], "iscrowd": 0}
        | {"segmentation": [[value for point in box(5 * number, 0, 4, 4)[:-1] for value in point]]}
        for number, one in enumerate(ids)
    ]
    images = [{"id": 7, "file_name": "x.png", "width": 40, "height": 10}]
    return save(path, {"images": images, "categories": categories, "annotations": annotations} | changes)


class TestCoco:
    @pytest.mark.parametrize("ids", [(0, 1), (1, 0), (3, 90), (-1, 5), (1, 70_000), (10**15, 0), ("tumor", "immune"), ("1", 1)])
    def test_names_survive_every_id(self, tmp_path, ids):
        path = coco(tmp_path / "a.json", [{"id": one, "name": f"name {one!r}"} for one in ids], ids)
        found, said = heard(read_coco, path)
        assert [found.class_at(number).name for number in (1, 2)] == [f"name {one!r}" for one in ids]
        boxes = read_coco_boxes(path)
        names = {one.value: one.name for one in boxes.classes}
        assert [names[value] for value in boxes.values.tolist()] == [f"name {one!r}" for one in ids]
        assert said == []

    def test_ids_that_are_class_values_stay(self, tmp_path):
        found = read_coco(coco(tmp_path / "a.json", [{"id": 9, "name": "b"}, {"id": 4, "name": "a"}], (9, 4)))
        assert [(one.value, one.name) for one in found.classes] == [(4, "a"), (9, "b")]
        assert dict(found.class_of) == {1: 9, 2: 4}

    @pytest.mark.parametrize("categories", [[], None])
    def test_without_categories_their_ids_are_the_names_and_it_is_said(self, tmp_path, categories):
        path = coco(tmp_path / "a.json", categories, (0, 3))
        found, said = heard(import_labels, path)
        assert [found.class_at(number).name for number in (1, 2)] == ["category 0", "category 3"]
        assert said == ["2 categories are not listed and are called by their ids: 0, 3"]

    def test_annotations_of_no_picture_are_counted(self, tmp_path):
        path = coco(tmp_path / "a.json", [{"id": 1, "name": "a"}], (1, 1))
        data = json.loads(path.read_text())
        data["annotations"][1]["image_id"] = "7"
        _, said = heard(read_coco, save(path, data))
        assert said == ["left out, as their picture is not listed: 1 annotation"]

    def test_pictures_are_found_by_near_names(self, tmp_path):
        path = coco(tmp_path / "a.json", [{"id": 1, "name": "a"}], (1,))
        data = json.loads(path.read_text())
        data["images"] += [{"id": 8, "file_name": "deep/Drüse.png", "width": 3, "height": 2}]
        save(path, data)
        assert pictures_in(path) == ["x.png", "deep/Drüse.png"]
        for name in ("deep/Drüse.png", "deep\\Drüse.PNG", unicodedata.normalize("NFD", "drüse.png")):
            assert import_labels(path, image=name).labels.shape == (2, 3)
        with pytest.raises(InvalidLabelsError, match=r"no pictures 'y.png' in it: there are x.png, deep/Drüse.png"):
            import_labels(path, image="y.png")
        with pytest.raises(ValueError, match="only COCO files hold labels of several"):
            import_labels(save(tmp_path / "b.geojson", [feature(box(0, 0, 2, 2))]), image="x.png")


class TestOverlaps:
    RINGS = (box(0, 0, 30, 30), box(2, 2, 6, 6), box(12, 12, 6, 6), box(12, 12, 6, 6))

    @pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 2, 3, 0), (2, 0, 3, 1)])
    @pytest.mark.parametrize("kind", ["geojson", "coco"])
    def test_small_objects_lie_over_large_ones_whatever_their_order(self, tmp_path, order, kind):
        rings = [self.RINGS[index] for index in order]
        if kind == "geojson":
            path = save(tmp_path / "a.geojson", [feature(ring, objectType="detection") for ring in rings])
        else:
            annotations = [
                {"id": 5 + index, "image_id": 1, "category_id": 1, "segmentation": [np.ravel(ring[:-1]).tolist()]}
                for index, ring in enumerate(rings)
            ]
            images, categories = [{"id": 1, "file_name": "x", "height": 30, "width": 30}], [{"id": 1, "name": "a"}]
            path = save(tmp_path / "a.json", {"images": images, "categories": categories, "annotations": annotations})
        found, said = heard(import_labels, path)
        region, cell, lost, kept = (1 + order.index(index) for index in range(4))
        expected = np.full((30, 30), region)
        expected[2:8, 2:8], expected[12:18, 12:18] = cell, max(lost, kept)  # of two equal ones the later
        np.testing.assert_array_equal(found.labels, expected)
        assert said == [
            "3 objects lie over others: where they do, the smaller one (of equal ones the later) is kept",
            f"1 of 4 objects lies wholly under others and is lost: {min(lost, kept)}",
        ]

    def test_many_cells_in_regions_in_regions(self, tmp_path):
        generator = np.random.default_rng(0)
        cells = [box(8 * x + 1, 8 * y + 1, *generator.integers(2, 6, 2).tolist()) for x in range(8) for y in range(8)]
        rings = [*cells[:30], box(0, 0, 64, 64), *cells[30:], box(0, 0, 33, 64)]
        found, _ = heard(import_labels, save(tmp_path / "a.geojson", [feature(one, objectType="cell") for one in rings]))
        assert len(np.unique(found.labels)) == 66
        inside = (found.labels != 31) & (found.labels != 66)
        assert label(inside, connectivity=1).max() == 64


class TestHostile:
    @pytest.mark.parametrize(
        "text",
        [
            "[" * 100_000,
            '{"features":' * 50_000,
            '{"type": "Feature", "geometry": ' + '{"type": "GeometryCollection", "geometries": [' * 3000 + "]}" * 3000 + "}",
            '{"features": [' + '{"properties": {"childObjects": [' * 3000 + "]}}" * 3000 + "]}",
            '{"features": [], "sdmae": {"shape": [10000000, 10000000]}}',
            '{"features": [], "sdmae": {"shape": [9, 9], "class_of": {"1": [[1, 100000000000]]}}}',
            '{"features": [], "sdmae": {"shape": [-1, 9]}}',
            '{"features": [{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1e400, 0], [1, 1]]]}}]}',
            '{"images": [{"id": 1, "width": 100000000, "height": 100000000}], "annotations": []}',
            '{"images": [{"id": 1, "width": 9, "height": -9}], "annotations": []}',
            '{"images": [{"id": [], "width": 9, "height": 9}], "annotations": [{"image_id": 1}]}',
            '{"images": [{"id": 1, "width": 9, "height": 9}], "annotations": [{"image_id": 1, "category_id": {}}]}',
            '{"1": {"contour": [[1e999, 0]]}}',
            '{"1": {"contour": []}}',
            "9" * 10_000,
            "null",
        ],
    )
    def test_json_is_refused_in_words(self, tmp_path, text):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InvalidLabelsError) as refused:
            import_labels(tmp_path / "a.json")
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 400
