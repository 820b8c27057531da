"""Layouts of labelled images, as they are published or exported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.label_images import label_size, read_labels
from napari_sdmae.data.labelled.read import load_labelled, read_labelled
from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.io.labels.registry import export_labels
from napari_sdmae.labels.label_map import IGNORE, LabelClass, LabelMap


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def dark_objects(picture: np.ndarray) -> np.ndarray:
    from skimage.measure import label

    return label(picture.mean(axis=2) < 130).astype(np.uint16)


def parts(labelled) -> dict[str, int]:
    return {part: len(labelled.part(part)) for part in ("train", "validation", "test")}


class TestSegmentation:
    def test_images_and_masks(self, masks, settings):
        labelled = read_labelled(settings("segmentation", masks))
        assert [(one.value, one.name) for one in labelled.classes] == [(0, "background"), (1, "class 1"), (2, "class 2")]
        assert parts(labelled) == {"train": 6, "validation": 2, "test": 2}
        assert any("slide IDs are missing" in warning for warning in labelled.warnings)
        first = labelled.images[0]
        mask = np.asarray(Image.open(masks / "masks" / "case0.png"))
        assert dict(first.counts) == {value: int((mask == value).sum()) for value in (0, 1, 2)}
        assert first.size == (128, 128)

    @pytest.mark.parametrize(
        "order", ["{part}/images/{stem}.png {part}/masks/{stem}.png", "images/{part}/{stem}.png labels/{part}/{stem}.tif"]
    )
    def test_folders_named_after_parts_give_the_split(self, tmp_path, pictures, settings, order):
        image, mask = order.split()
        for index, part in enumerate(["train"] * 4 + ["val"] * 2 + ["test"]):
            save(tmp_path / image.format(part=part, stem=f"a{index}"), pictures[index])
            path = tmp_path / mask.format(part=part, stem=f"a{index}")
            save(path, (pictures[index][..., 1] < 150).astype(np.uint8))
        assert parts(read_labelled(settings("segmentation", tmp_path))) == {"train": 4, "validation": 2, "test": 1}

    def test_a_table_names_files_without_their_ending_and_none_is_taken_for_another(self, masks, settings):
        """Images and masks are called alike: with their folder each is found, without it nothing is guessed."""
        rows = [f"images/{path.stem},masks/{path.stem}" for path in sorted((masks / "images").iterdir())]
        (masks / "table.csv").write_text("\n".join(["file,mask", *rows]))
        labelled = read_labelled(settings("segmentation", masks))
        assert [(image.path.parent.name, image.labels.parent.name) for image in labelled.images] == [("images", "masks")] * 10
        (masks / "table.csv").write_text("\n".join(["file,mask", *(row.replace("images/", "") for row in rows)]))
        with pytest.raises(DataError, match="10 of 10 images cannot be used, more than the 10% allowed") as refused:
            read_labelled(settings("segmentation", masks))
        assert "--tiles" not in str(refused.value)

    def test_table_with_columns_in_other_words(self, masks, settings):
        rows = [f"images/case{i}.png;masks/case{i}.png;P{i // 2};0,5" for i in range(10)]
        table = masks / "cases.csv"
        table.write_text("\ufeffImage;Mask;Patient;other\n" + "\n".join(rows), encoding="utf-8")
        labelled = read_labelled(settings("segmentation", table))
        assert {image.group for image in labelled.images} == {f"patient P{i}" for i in range(5)}
        assert read_labelled(settings("segmentation", masks)) == labelled

    def test_table_without_labels_tells_slides_of_a_folder(self, masks, settings):
        (masks / "slides.csv").write_text("file,slide,mpp\n" + "\n".join(f"case{i}.png,S{i % 4},0.5" for i in range(9)))
        labelled = read_labelled(settings("segmentation", masks))
        assert [image.group for image in labelled.images[:4]] == ["slide S0", "slide S1", "slide S2", "slide S3"]
        assert labelled.images[0].mpp == 0.5
        assert "slides.csv does not name 1 of 10 images" in labelled.warnings

    def test_the_json_of_exported_labels_names_the_classes(self, masks, settings):
        classes = [
            {"value": 2, "name": "nuclei", "colour": [1, 2, 3]},
            {"value": 0, "name": "glass"},
            {"value": 1, "name": "stroma"},
        ]
        (masks / "classes.json").write_text(json.dumps({"classes": classes}))
        labelled = read_labelled(settings("segmentation", masks))
        assert labelled.classes[2] == LabelClass(value=2, name="nuclei", colour=(1, 2, 3))
        assert [one.name for one in labelled.classes] == ["glass", "stroma", "nuclei"]
        (masks / "classes.json").unlink()
        (masks / "classes.csv").write_text("value,name,colour\n0,glass,#000000\n1,stroma,#ff8000\n2,nuclei,\n")
        assert read_labelled(settings("segmentation", masks)).classes[1].colour == (255, 128, 0)

    def test_background_that_is_not_listed_is_added(self, masks, settings):
        (masks / "classes.csv").write_text("value,name\n1,stroma\n2,nuclei\n")
        labelled = read_labelled(settings("segmentation", masks))
        assert [one.name for one in labelled.classes] == ["background", "stroma", "nuclei"]
        assert not labelled.unusable

    def test_exported_labels_are_read_with_their_classes(self, tmp_path, pictures, settings):
        """Through the project's own export: PNG with NAME.classes.json beside it."""
        named = ((1, "gland"), (2, "nerve"))
        for index, picture in enumerate(pictures[:6]):
            save(tmp_path / "images" / f"{index}.png", picture)
            labels = (picture[..., 1] < 150).astype(np.int32) * (1 + index % 2)
            classes = tuple(LabelClass(value=value, name=name, colour=(9, 9, value)) for value, name in named)
            (tmp_path / "masks").mkdir(exist_ok=True)
            export_labels(LabelMap(labels, classes, mpp=0.5), tmp_path / "masks" / f"{index}.png")
        labelled = read_labelled(settings("segmentation", tmp_path))
        assert [(one.name, one.colour) for one in labelled.classes] == [
            ("background", (0, 0, 0)),
            ("gland", (9, 9, 1)),
            ("nerve", (9, 9, 2)),
        ]
        loaded = load_labelled(labelled.images[1], labelled, None, 255)
        np.testing.assert_array_equal(loaded.target, (pictures[1][..., 1] < 150) * 2)

    def test_a_value_that_is_no_class_makes_its_image_unusable(self, masks, settings):
        (masks / "classes.json").write_text(json.dumps([{"value": value, "name": f"c{value}"} for value in range(3)]))
        mask = np.asarray(Image.open(masks / "masks" / "case3.png")).copy()
        mask[5, 5] = 9
        save(masks / "masks" / "case3.png", mask)
        labelled = read_labelled(settings("segmentation", masks))
        reason = "the label image holds the value 9 (1 px), not among the classes: list it in classes.json"
        assert labelled.unusable == (("images/case3.png", reason),)

    def test_strokes_painted_in_a_viewer_count_alone(self, masks, settings):
        config = settings("segmentation", masks, labels={"ignore_value": 0})
        labelled = read_labelled(config)
        assert [one.value for one in labelled.classes] == [1, 2]
        loaded = load_labelled(labelled.images[0], labelled, None, 0)
        mask = np.asarray(Image.open(masks / "masks" / "case0.png"))
        np.testing.assert_array_equal(loaded.target, mask.astype(int) - 1)  # 0 becomes IGNORE = -1

    def test_a_black_and_white_mask_says_what_to_do(self, tmp_path, pictures, settings):
        for index, picture in enumerate(pictures[:4]):
            save(tmp_path / "images" / f"{index}.png", picture)
            save(tmp_path / "masks" / f"{index}.png", np.where(picture[..., 1] < 150, 255, 0).astype(np.uint8))
        with pytest.raises(DataError, match=r"--labels\.ignore-value\) to a value that is not used, such as 254"):
            read_labelled(settings("segmentation", tmp_path))
        labelled = read_labelled(settings("segmentation", tmp_path, labels={"ignore_value": 254}))
        assert [one.value for one in labelled.classes] == [0, 255]

    def test_object_numbers_are_no_classes(self, nuclei, settings):
        with pytest.raises(DataError, match="task instances"):
            read_labelled(settings("segmentation", nuclei))

    def test_glas_as_published(self, tmp_path, pictures, settings):
        for index in range(4):
            for name in (f"train_{index}", f"testA_{index}", f"testB_{index}"):
                save(tmp_path / f"{name}.bmp", pictures[index])
                save(tmp_path / f"{name}_anno.bmp", dark_objects(pictures[index]).astype(np.uint8))
        config = settings("segmentation", tmp_path, labels={"validation": 0.25})
        labelled = read_labelled(config)
        assert parts(labelled) == {"train": 3, "validation": 1, "test": 8}
        assert [one.value for one in labelled.classes] == [0, 1]
        assert any("no validation images came with the data: 1 of 4" in warning for warning in labelled.warnings)
        loaded = load_labelled(labelled.part("test")[0], labelled, None, 255)
        np.testing.assert_array_equal(loaded.target, dark_objects(pictures[0]).astype(np.uint8) > 0)
        objects = read_labelled(settings("instances", tmp_path))
        assert load_labelled(objects.part("test")[0], objects, None, 255).target.max() > 3

    def test_unusable_images_are_counted_with_their_reasons(self, masks, pictures, settings):
        for index in range(10, 24):
            save(masks / "images" / f"more{index}.png", pictures[index])
            save(masks / "masks" / f"more{index}.png", (pictures[index][..., 1] < 150).astype(np.uint8))
        save(masks / "masks" / "more10.png", np.zeros((128, 127), np.uint8))
        (masks / "masks" / "more11.png").unlink()
        labelled = read_labelled(settings("segmentation", masks))
        assert labelled.unusable == (
            ("images/more10.png", "the image is 128 × 128 px, its mask 127 × 128 px: they must be of the same size"),
            (
                "images/more11.png",
                "no label image more11.png or .tif, and no annotations more11.geojson, in the folder masks or labels",
            ),
        )
        assert len(labelled.images) == 22
        save(masks / "masks" / "more12.png", pictures[12])
        with pytest.raises(DataError, match=r"3 of 24 images cannot be used.*more12\.png: the mask is a colour picture \(RGB\)"):
            read_labelled(settings("segmentation", masks))

    def test_damage_behind_the_header_is_found_before_training(self, masks, settings):
        path = masks / "images" / "case4.png"
        path.write_bytes(path.read_bytes()[:9000])
        labelled = read_labelled(settings("segmentation", masks))
        assert [name for name, _ in labelled.unusable] == ["images/case4.png"]
        assert len(read_labelled(settings("segmentation", masks), decode=False).images) == 10

    def test_fingerprint_changes_with_files_and_classes(self, masks, settings):
        config = settings("segmentation", masks)
        first = read_labelled(config).fingerprint
        assert read_labelled(config).fingerprint == first
        os.utime(masks / "masks" / "case1.png", (1, 1))
        second = read_labelled(config).fingerprint
        (masks / "classes.csv").write_text("value,name\n0,a\n1,b\n2,c\n")
        assert len({first, second, read_labelled(config).fingerprint}) == 3


class TestLabelImages:
    def test_indexed_colours_keep_their_indices(self, tmp_path):
        indices = np.arange(16, dtype=np.uint8).reshape(4, 4) % 3
        image = Image.fromarray(indices, "P")
        image.putpalette([255, 255, 255, 9, 9, 9, 200, 0, 0])
        image.save(tmp_path / "mask.png")
        np.testing.assert_array_equal(read_labels(tmp_path / "mask.png"), indices)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32])
    def test_tiff_of_any_depth(self, tmp_path, dtype):
        values = np.arange(70_000, 70_012).reshape(3, 4) % np.iinfo(dtype).max
        tifffile.imwrite(tmp_path / "labels.tif", values.astype(dtype))
        np.testing.assert_array_equal(read_labels(tmp_path / "labels.tif"), values.astype(dtype))
        assert label_size(tmp_path / "labels.tif") == (3, 4)

    def test_sixteen_bit_png_and_one_bit_png(self, tmp_path):
        numbers = np.array([[0, 1, 65535]], np.uint16)
        save(tmp_path / "deep.png", numbers)
        np.testing.assert_array_equal(read_labels(tmp_path / "deep.png"), numbers)
        save(tmp_path / "flat.png", np.array([[True, False]]))
        np.testing.assert_array_equal(read_labels(tmp_path / "flat.png"), [[1, 0]])

    @pytest.mark.parametrize(
        ("name", "pixels", "reason"),
        [
            ("colour.png", np.eye(3, dtype=np.uint8)[None], "indexed or grey PNG"),
            ("colour.tif", np.eye(3, dtype=np.uint8)[None], "indexed or grey PNG"),
            ("lossy.jpg", np.zeros((8, 8), np.uint8), "save masks as PNG or TIFF"),
            ("float.tif", np.full((4, 4), 0.5, np.float32), "save it with whole numbers"),
            ("negative.tif", np.full((4, 4), -1, np.int16), "expected 0 to 2147483647"),
        ],
    )
    def test_what_cannot_be_labels_says_why(self, tmp_path, name, pixels, reason):
        if name.endswith(".tif"):
            tifffile.imwrite(tmp_path / name, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
        else:
            save(tmp_path / name, pixels)
        with pytest.raises(InvalidImageError, match=reason):
            read_labels(tmp_path / name)


class TestInstances:
    def test_the_shipped_nuclei(self, nuclei, settings):
        labelled = read_labelled(settings("instances", nuclei))
        assert [(one.value, one.name) for one in labelled.classes] == [(1, "nucleus")]
        image = labelled.images[0]
        numbers = np.unique(np.asarray(Image.open(image.labels)))
        assert image.counts == ((1, np.count_nonzero(numbers)),)
        assert load_labelled(image, labelled, None, 255).types == {int(number): 0 for number in numbers if number}

    def test_object_numbers_of_any_size_take_no_memory(self, tmp_path, pictures, settings):
        """Numbers that are hashes, as some programs give: a table with a row for each number up to them would take gigabytes."""
        for index, picture in enumerate(pictures[:6]):
            numbers, kinds = np.zeros((128, 128), np.uint32), np.zeros((128, 128), np.uint8)
            numbers[:10, :10], numbers[20:30, :10], numbers[40:44, :10] = 2_100_000_000, 7, 900_000_000
            kinds[:10, :10], kinds[20:30, :10], kinds[40:44, :10] = 3, 1, 2
            save(tmp_path / "images" / f"{index}.png", picture)
            for name, values in (("labels", numbers), ("types", kinds)):
                (tmp_path / name).mkdir(exist_ok=True)
                tifffile.imwrite(tmp_path / name / f"{index}.tif", values)
        config = settings("instances", tmp_path)
        labelled = read_labelled(config)
        loaded = load_labelled(labelled.images[0], labelled, None, 255)
        assert loaded.types == {1: 0, 2: 1, 3: 2}
        assert [int(loaded.target[row, 0]) for row in (0, 15, 25, 42)] == [3, 0, 1, 2]
        tiles = LabelledTiles(labelled.images, labelled, config, tile=64, mpp=None)
        targets = tiles.batch(np.array([0]), 0, augmented=False).targets
        assert [int(targets["types"][0, row, 0]) for row in (0, 15, 25, 42)] == [2, IGNORE, 0, 1]

    def test_types_are_those_of_most_pixels(self, tmp_path, pictures, settings):
        for index, picture in enumerate(pictures[:6]):
            numbers, kinds = np.zeros((128, 128), np.uint16), np.zeros((128, 128), np.uint8)
            numbers[:10, :10], numbers[20:30, :10], numbers[40:44, :10] = 300, 7, 8
            kinds[:10, :6], kinds[:10, 6:10] = 5, 2  # object 300: 60 of 5, 40 of 2; object 8: none
            kinds[20:30, :10] = 2
            save(tmp_path / "images" / f"{index}.png", picture)
            save(tmp_path / "labels" / f"{index}.png", numbers)
            save(tmp_path / "types" / f"{index}.png", kinds)
        labelled = read_labelled(settings("instances", tmp_path))
        assert [one.value for one in labelled.classes] == [2, 5]
        assert labelled.images[0].counts == ((2, 2), (5, 1))
        assert load_labelled(labelled.images[0], labelled, None, 255).types == {7: 0, 8: 0, 300: 1}


class TestClassification:
    @pytest.fixture
    def folders(self, tmp_path, pictures) -> Path:
        for index, picture in enumerate(pictures):
            save(tmp_path / ("TUM", "ADI", "LYM")[index % 3] / f"{index}.png", picture)
        return tmp_path

    def test_nct_crc_folder_per_class(self, folders, settings):
        labelled = read_labelled(settings("classification", folders))
        assert [(one.value, one.name) for one in labelled.classes] == [(0, "ADI"), (1, "LYM"), (2, "TUM")]
        assert parts(labelled)["train"] in (14, 15)
        assert sum(parts(labelled).values()) == 24
        for part in ("train", "validation", "test"):
            assert {image.label for image in labelled.part(part)} == {0, 1, 2}
        assert all(labelled.classes[image.label].name in image.name for image in labelled.images)

    def test_folders_of_parts_above_the_classes(self, tmp_path, pictures, settings):
        for index, picture in enumerate(pictures[:12]):
            save(tmp_path / ("train", "valid", "test")[index % 3] / "ab"[index % 2] / f"{index}.png", picture)
        labelled = read_labelled(settings("classification", tmp_path))
        assert parts(labelled) == {"train": 4, "validation": 4, "test": 4}
        assert [one.name for one in labelled.classes] == ["a", "b"]

    def test_pcam_like_table(self, tmp_path, pictures, settings):
        for index, picture in enumerate(pictures[:12]):
            save(tmp_path / "train" / f"f38a{index}.tif", picture[:96, :96])
        (tmp_path / "train_labels.csv").write_text("id,label\n" + "\n".join(f"f38a{index},{index % 2}" for index in range(12)))
        labelled = read_labelled(settings("classification", tmp_path))
        assert [(one.value, one.name) for one in labelled.classes] == [(0, "0"), (1, "1")]
        assert len(labelled.images) == 12
        assert {image.path.parent.name for image in labelled.images} == {"train"}

    def test_labels_that_are_numbers_sort_as_numbers(self, tmp_path, pictures, settings):
        for index in range(12):
            save(tmp_path / f"{index}.png", pictures[index])
        (tmp_path / "t.csv").write_text("file,label\n" + "\n".join(f"{index}.png,{(2, 10, 9)[index % 3]}" for index in range(12)))
        assert [one.name for one in read_labelled(settings("classification", tmp_path)).classes] == ["2", "9", "10"]

    def test_two_tables_are_the_parts_they_name(self, folders, settings):
        names = sorted(path.relative_to(folders).as_posix() for path in folders.glob("*/*.png"))
        for part, chosen in (("train", names[::2]), ("validation", names[1::2])):
            rows = [f"{name},{name.split('/')[0]},{part}{index}" for index, name in enumerate(chosen)]
            (folders / f"{part}.csv").write_text("file,label,group\n" + "\n".join(rows))
        labelled = read_labelled(settings("classification", folders))
        assert parts(labelled) == {"train": 12, "validation": 12, "test": 0}
        assert labelled.warnings == ()

    def test_a_group_on_both_sides_is_refused(self, folders, settings):
        names = sorted(path.relative_to(folders).as_posix() for path in folders.glob("*/*.png"))
        for part, chosen in (("train", names[::2]), ("validation", names[1::2])):
            rows = [f"{name},{name.split('/')[0]},g{index}" for index, name in enumerate(chosen)]
            (folders / f"{part}.csv").write_text("file,label,group\n" + "\n".join(rows))
        with pytest.raises(DataError, match=r"12 of 12 groups are on both sides.*group g0 \(train and validation\)"):
            read_labelled(settings("classification", folders))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("name,label\na.png,b\n", "no column for file: expected file: file or image"),
            ("file,kind\na.png,b\n", "no column for label"),
            ("file,label\n", "lists no images"),
        ],
    )
    def test_a_table_that_cannot_be_used_says_why(self, tmp_path, settings, content, message):
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(DataError, match=message):
            read_labelled(settings("classification", tmp_path / "t.csv"))

    def test_problems_of_single_rows(self, folders, settings):
        names = sorted(path.relative_to(folders).as_posix() for path in folders.glob("*/*.png"))
        rows = [f"{name},{name.split('/')[0]},," for name in names]
        rows[0], rows[1] = "nowhere.png,ADI,,", f"{names[1]},ADI,middle,"
        (folders / "t.csv").write_text("file,label,split,mpp\n" + "\n".join(rows))
        labelled = read_labelled(settings("classification", folders / "t.csv"))
        assert sorted(reason for _, reason in labelled.unusable) == [
            "split 'middle': expected train, validation or test",
            "there is no such file",
        ]

    def test_one_class_is_refused(self, tmp_path, pictures, settings):
        save(tmp_path / "only" / "a.png", pictures[0])
        with pytest.raises(DataError, match="only the class only: expected at least two"):
            read_labelled(settings("classification", tmp_path))


class TestDetection:
    @staticmethod
    def coco(folder: Path, pictures, name: str = "annotations.json", first: int = 0) -> dict:
        images = [{"id": i, "file_name": f"{i}.png", "width": 128, "height": 128} for i in range(first, first + 6)]
        for image in images:
            save(folder / "images" / image["file_name"], pictures[image["id"]])
        boxes = [[10, 20, 30, 40], [100, 100, 50, 50]]
        annotations = [
            {"id": 10 * i + k, "image_id": i, "category_id": (3, 8)[k], "bbox": box, "iscrowd": 0}
            for i in range(first, first + 5)
            for k, box in enumerate(boxes)
        ]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 8, "name": "b"}, {"id": 3, "name": "a"}]}
        (folder / name).write_text(json.dumps(content))
        return content

    def test_boxes_as_pycocotools_reads_them(self, tmp_path, pictures, settings):
        from pycocotools.coco import COCO

        self.coco(tmp_path, pictures)
        labelled = read_labelled(settings("detection", tmp_path))
        assert [(one.value, one.name) for one in labelled.classes] == [(3, "a"), (8, "b")]
        theirs = COCO(str(tmp_path / "annotations.json"))
        for image in labelled.images:
            index = int(image.path.stem)
            found = {
                (x, y, min(x + w, 128), min(y + h, 128), a["category_id"])
                for a in theirs.imgToAnns[index]
                for x, y, w, h in [a["bbox"]]
            }
            assert set(image.boxes) == found
        assert len(labelled.images) == 6  # the last has no objects

    def test_invalid_boxes_and_crowds_are_told(self, tmp_path, pictures, settings):
        content = self.coco(tmp_path, pictures)
        content["annotations"] += [
            {"id": 900, "image_id": 0, "category_id": 3, "bbox": [5, 5, 0, 5]},
            {"id": 901, "image_id": 0, "category_id": 3, "bbox": [500, 5, 5, 5]},
            {"id": 902, "image_id": 0, "category_id": 3, "bbox": [5, 5, 5, 5], "iscrowd": 1},
            {"id": 903, "image_id": 77, "category_id": 3, "bbox": [5, 5, 5, 5]},
        ]
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        labelled = read_labelled(settings("detection", tmp_path / "annotations.json"))
        assert len(labelled.images[0].boxes) == 2
        told = " ".join(labelled.warnings)
        for words in ("2 boxes are invalid", "1 crowds are left out", "1 boxes belong to no image"):
            assert words in told

    def test_files_named_after_parts(self, tmp_path, pictures, settings):
        for first, name in ((0, "train.json"), (6, "instances_val.json"), (12, "test.json")):
            self.coco(tmp_path, pictures, name, first)
        assert parts(read_labelled(settings("detection", tmp_path))) == {"train": 6, "validation": 6, "test": 6}

    def test_no_coco_file(self, tmp_path, settings):
        (tmp_path / "a.json").write_text('{"images": []}')
        with pytest.raises(DataError, match="no COCO file: expected the lists"):
            read_labelled(settings("detection", tmp_path))
        (tmp_path / "b.json").write_text("[]")
        with pytest.raises(DataError, match="2 JSON files"):
            read_labelled(settings("detection", tmp_path))


def test_nothing_there(tmp_path, settings):
    with pytest.raises(DataError, match="no folder or file"):
        read_labelled(settings("segmentation", tmp_path / "gone"))
    save(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match="expected folders images and masks"):
        read_labelled(settings("segmentation", tmp_path))
    with pytest.raises(DataError, match="expected one folder for each class"):
        read_labelled(settings("classification", tmp_path))


def test_scale_of_the_settings_the_table_and_the_file(tmp_path, pictures, settings):
    for index in range(8):
        save(tmp_path / "ab"[index % 2] / f"{index}.png", pictures[index])
    tifffile.imwrite(tmp_path / "a" / "8.tif", pictures[8], resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    images = {image.path.name: image for image in read_labelled(settings("classification", tmp_path)).images}
    assert images["8.tif"].mpp == pytest.approx(0.5)
    assert images["0.png"].mpp is None
    fixed = read_labelled(settings("classification", tmp_path, image_mpp=0.25))
    assert {image.mpp for image in fixed.images} == {0.25}
