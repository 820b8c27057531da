"""What belongs together is found by its name, and what cannot be used is named: pairs, tables, scale, values of masks."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from napari_sdmae.data import listing
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.layouts.columns import scale_of
from napari_sdmae.data.labelled.read import load_labelled, read_labelled


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pair(tmp_path, pictures):
    """Write an image of 32 px and its mask of the values 0, 1, 2 (or others) under any names; return the folder."""

    def write(image: str, mask: str | None, values: tuple[int, ...] = (0, 1, 2)) -> Path:
        index = len(list(tmp_path.rglob("*.*"))) % len(pictures)
        save(tmp_path / "images" / image, pictures[index][:32, :32])
        if mask is not None:
            save(tmp_path / "masks" / mask, np.array(values, np.uint8)[np.arange(32 * 32).reshape(32, 32) % len(values)])
        return tmp_path

    return write


@pytest.fixture
def folder(pair):
    for index in range(6):
        root = pair(f"Präp{index}.png", f"Präp{index}.png")
    return root


def told(labelled) -> str:
    return "\n".join([*labelled.warnings, *labelled.notes])


class TestPairs:
    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            ("IMG_{}.png", "img_{}.png"),
            ("IMG_{}.png", "img_{}_mask.tif"),
            ("Drüse{}.png", unicodedata.normalize("NFD", "Drüse{}.png")),
            (unicodedata.normalize("NFD", "Drüse{}.JPG"), "drüse{}-labels.PNG"),
        ],
    )
    def test_partners_are_found_by_near_names(self, pair, settings, image, mask):
        for index in range(5):
            root = pair(image.format(index), mask.format(index))
        labelled = read_labelled(settings("segmentation", root))
        assert len(labelled.images) == 5
        assert all(one.path.stem[-1] in one.labels.stem for one in labelled.images)
        assert all(unicodedata.is_normalized("NFC", one.name) for one in labelled.images)

    def test_two_images_never_share_a_mask(self, pair, settings):
        for index in range(20):
            root = pair(f"a{index}.png", f"a{index}.png")
        pair("a3.tif", None)
        labelled = read_labelled(settings("segmentation", root))
        reason = "images/a3.png and images/a3.tif are called alike, and there is one label image: rename one"
        assert labelled.unusable == (("images/a3.png", reason), ("images/a3.tif", reason))

    def test_images_of_one_name_with_a_mask_each_are_used(self, pair, settings):
        for end in ("png", "tif", "bmp"):
            root = pair(f"a.{end}", f"a.{end}")
        labelled = read_labelled(settings("segmentation", root))
        assert [one.path.suffix == one.labels.suffix for one in labelled.images] == [True] * 3

    def test_several_masks_for_one_image_are_not_chosen_from(self, pair, settings):
        for index in range(10):
            root = pair(f"a{index}.png", f"a{index}.png")
        save(root / "masks" / "a0.tif", np.zeros((32, 32), np.uint8))
        ((name, reason),) = read_labelled(settings("segmentation", root)).unusable
        assert (name, reason) == (
            "images/a0.png",
            "2 label images are called alike (masks/a0.png, masks/a0.tif): leave one for each image",
        )

    def test_a_jpeg_mask_hidden_files_and_whatever_is_left_out_are_named(self, pair, settings):
        for index in range(12):
            root = pair(f"a{index}.png", f"a{index}.png")
        (root / "masks" / "a7.png").unlink()
        save(root / "masks" / "a7.jpg", np.zeros((32, 32), np.uint8))
        save(root / "preview.png", np.zeros((8, 8, 3), np.uint8))
        for name in (
            "images/slide.svs",
            "images/._a1.png",
            "masks/._a1.png",
            "masks/Thumbs.db",
            "masks/.DS_Store",
            "._table.csv",
        ):
            (root / name).write_bytes(b"\0\5\x16\7")
        labelled = read_labelled(settings("segmentation", root))
        assert labelled.unusable == (
            ("images/a7.png", "masks/a7.jpg is a JPEG, which changes values: save masks as PNG or TIFF"),
        )
        assert "2 files are left out: 1 is of a kind that is not read, such as images/slide.svs; 1 lies in no folder" in told(
            labelled
        )

    def test_segmentation_reads_masks_and_instances_labels_where_there_are_both(self, pair, settings):
        for index in range(5):
            root = pair(f"a{index}.png", f"a{index}.png")
            save(root / "labels" / f"a{index}.png", np.full((32, 32), 300 + index, np.uint16))
        for task, read, other in (("segmentation", "masks", "labels"), ("instances", "labels", "masks")):
            labelled = read_labelled(settings(task, root))
            assert {one.labels.parent.name for one in labelled.images} == {read}
            assert f"5 files in {other} are not read: for {task} those in {read} are" in labelled.warnings


class TestClassNames:
    def tree(self, root, pictures, names):
        for index, name in enumerate(names):
            save(root / name / f"{index}.png", pictures[index % len(pictures)][:32, :32])
        return root

    def test_unicode_forms_and_case_are_one_class(self, tmp_path, pictures, settings):
        other = unicodedata.normalize("NFD", "Drüse")
        root = self.tree(tmp_path, pictures, ["train/Drüse", f"test/{other}", "train/Fett", "train/Fett", "test/fett"] * 2)
        labelled = read_labelled(settings("classification", root, labels={"leave_out": ()}))
        assert [one.name for one in labelled.classes] == ["Drüse", "Fett"]
        assert "the class fett (2 images) is taken as Fett: only case differs" in labelled.warnings
        left = read_labelled(
            settings("classification", self.tree(root, pictures, ["train/x"] * 3), labels={"leave_out": (other,)})
        )
        assert [one.name for one in left.classes] == ["Fett", "x"]

    def test_classes_that_are_listed_are_told_apart_by_case(self, tmp_path, pictures, settings):
        root = self.tree(tmp_path, pictures, ["m", "M"] * 4)
        (root / "classes.json").write_text(json.dumps({"0": "m", "1": "M"}))
        assert [one.name for one in read_labelled(settings("classification", root)).classes] == ["m", "M"]

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("classes.csv", "value;name;colour\r\n0;Fett;#ffffff\r\n1;Drüse;#ff0000\r\n2;Haut;\r\n"),
            ("Classes.CSV", "ID\tClass\t\n0\tFett\t\n1\tDrüse\t\n2\tHaut\t\n"),
            (
                "classes.json",
                '{"classes": [{"value": 0, "name": "Fett"}, {"id": 1, "name": "Drüse"}, {"value": 2, "name": "Haut"}]}',
            ),
            ("classes.json", '{"0": "Fett", "1": "Drüse", "2": "Haut"}'),
            (
                "masks/classes.json",
                '[{"value": "0", "name": "Fett"}, {"value": 1, "name": "Drüse"}, {"value": 2, "name": "Haut"}]',
            ),
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
    def test_lists_of_classes_as_people_write_them(self, folder, settings, name, text, encoding):
        (folder / name).write_bytes(text.encode(encoding))
        assert [one.name for one in read_labelled(settings("segmentation", folder)).classes] == ["Fett", "Drüse", "Haut"]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('["Fett", "Haut"]', "no list of classes"),
            ('[{"name": "Fett"}]', "no value in name: Fett"),
            ("[" * 100_000, r"deep|cut short"),
            ('[{"value": 1e999, "name": "a"}]', "inf"),
        ],
    )
    def test_a_list_that_cannot_be_used_says_why(self, folder, settings, text, reason):
        (folder / "classes.json").write_text(text)
        with pytest.raises(DataError, match=reason):
            read_labelled(settings("segmentation", folder))


ROWS = tuple((f"Präp{index}.png", f"S{index // 2}") for index in range(6))


class TestSlideTables:
    @pytest.mark.parametrize(
        ("name", "head", "separator", "encoding"),
        [
            ("Schnitte.csv", "file;slide\r\n", ";", "cp1252"),
            ("slides.CSV", 'sep=,\r\n"File ", Slide \r\n', ",", "utf-8-sig"),
            ("slides.txt", "Image\tSlide ID\t\t\r", "\t", "utf-16"),
            ("slides.tsv", "Datei\tSchnitt\n", "\t", "utf-8"),
        ],
    )
    def test_are_read_from_every_program(self, folder, settings, name, head, separator, encoding):
        text = head + "\r\n".join(separator.join(row) for row in ROWS)
        (folder / name).write_bytes(text.encode(encoding))
        labelled = read_labelled(settings("segmentation", folder))
        assert [one.group for one in labelled.images] == [f"slide S{index // 2}" for index in range(6)]
        assert f"{name} tells slide of 6 of 6 images" in labelled.notes

    def test_name_files_in_any_case_and_unicode_form_and_twice(self, folder, settings):
        rows = [(unicodedata.normalize("NFD", name).upper(), slide) for name, slide in ROWS] * 2
        text = "file,slide\n" + "\n".join(map(",".join, [*rows, ("other.png", "S9"), ("Präp5.png", "S7"), ("Präp5.png", "S8")]))
        (folder / "slides.csv").write_text(text, encoding="utf-8")
        labelled = read_labelled(settings("segmentation", folder))
        assert [one.group for one in labelled.images] == [*(f"slide S{index // 2}" for index in range(5)), None]
        assert "slides.csv tells different things of 1 image, such as images/Präp5.png: none is used" in labelled.warnings
        assert "slides.csv: 3 rows name no image, such as PRA" in told(labelled)

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ({"s.csv": b"file,slide\0\n"}, "s.csv is not used: this is no text"),
            ({"s.csv": b""}, "s.csv is not used: the table is empty"),
            ({"s.csv": b"picture;probe\na;b\n"}, "s.csv is not used: its columns tell nothing that is known"),
            ({"s.txt": b"file,lab\n"}, "s.txt is not used: its columns tell only file; slides need"),
            ({"cases.xlsx": b"PK\3\4"}, "cases.xlsx is not used: it is no text; save it as CSV"),
            (
                {"a.csv": b"file,slide\n", "b.csv": b"file,patient\n"},
                "2 tables tell slides, parts or scale, and none is used: a.csv, b",
            ),
            (
                {"a.csv": b"file,mask\n", "b.csv": b"file,mask\n"},
                "2 tables list images with labels, and none is used: a.csv, b.csv",
            ),
        ],
    )
    def test_that_cannot_be_used_are_named(self, folder, settings, files, said):
        for name, data in files.items():
            (folder / name).write_bytes(data)
        assert said in told(read_labelled(settings("segmentation", folder)))

    def test_a_damaged_row_refuses_the_table(self, folder, settings):
        (folder / "slides.csv").write_text("file,slide\nPräp0.png,S0,x\n", encoding="utf-8")
        with pytest.raises(DataError, match=r"slides.csv cannot be read as a table: line 2 has 3 cells"):
            read_labelled(settings("segmentation", folder))

    def test_text_that_is_no_table_is_no_matter(self, folder, settings):
        (folder / "README.txt").write_text("Made in Basel, by hand.\nOne, two, three, four commas.\n")
        assert "README" not in told(read_labelled(settings("segmentation", folder)))

    def test_names_of_another_spelling_do_not_list_the_folder_again(self, folder, settings, monkeypatch):
        rows = "\n".join(f"images/PRÄP{index}.PNG,masks/PRÄP{index}" for index in range(6))
        (folder / "t.csv").write_text(f"file,mask\n{rows}", encoding="utf-8")
        walks = Mock(wraps=listing.walk_folder)
        monkeypatch.setattr(listing, "walk_folder", walks)
        assert len(read_labelled(settings("segmentation", folder)).images) == 6
        assert walks.call_count == 1


class TestScale:
    @pytest.mark.parametrize(
        ("head", "cell", "mpp"),
        [
            ("mpp", "0,25", 0.25),
            ("MPP (nm)", "250", 0.25),
            ("µm/px", "0.5", 0.5),
            ("Pixel size [µm]", "0.5", 0.5),
            ("um per pixel", "0.5 µm", 0.5),
            ("resolution (nm/px)", "455", 0.455),
            ("mpp", "250 nm", 0.25),
        ],
    )
    def test_is_read_as_people_write_it(self, folder, settings, head, cell, mpp):
        rows = "\n".join(f"Präp{index}.png;S{index};{cell}" for index in range(6))
        (folder / "t.csv").write_text(f"file;slide;{head}\n{rows}", encoding="utf-8")
        assert {one.mpp for one in read_labelled(settings("segmentation", folder)).images} == {mpp}

    def test_that_is_not_plausible_is_refused_with_its_value(self, folder, settings):
        (folder / "t.csv").write_text(
            "file,slide,mpp\n" + "\n".join(f"Präp{index}.png,S,250" for index in range(6)), encoding="utf-8"
        )
        with pytest.raises(DataError, match=r"mpp 250: 250 µm/px is not plausible \(expected 0.05 to 20\); is it in nm\?"):
            read_labelled(settings("segmentation", folder))

    @pytest.mark.parametrize("cell", ["a", "0.25 ells", "1e400", "nan", "-1", "0,2,5"])
    def test_that_is_none_is_named(self, cell):
        with pytest.raises(ValueError, match="mpp"):
            scale_of(cell)


class TestValues:
    @pytest.mark.parametrize(
        ("values", "said"),
        [((0, 128, 255), "the masks hold 0, 128 and 255, and 255 is left out"), ((0, 255), "the masks hold only 0 and 255")],
    )
    def test_grey_levels_lose_no_class(self, pair, settings, values, said):
        for index in range(5):
            root = pair(f"{index}.png", f"{index}.png", values)
        with pytest.raises(DataError, match=said):
            read_labelled(settings("segmentation", root))
        labelled = read_labelled(settings("segmentation", root, labels={"ignore_value": 254}))
        assert [one.value for one in labelled.classes] == list(values)
        target = load_labelled(labelled.images[0], labelled, None, 254).target
        np.testing.assert_array_equal(np.array(values)[target], np.asarray(Image.open(labelled.images[0].labels)))

    def test_what_is_not_learned_is_counted(self, pair, settings):
        for index in range(5):
            root = pair(f"{index}.png", f"{index}.png", (0, 1, 2, 255))
        labelled = read_labelled(settings("segmentation", root))
        assert [one.value for one in labelled.classes] == [0, 1, 2]
        assert "5 of 5 masks hold 255, which is not learned (25.0% of all pixels)" in told(labelled)

    def test_a_class_that_is_listed_is_never_left_out(self, pair, settings):
        for index in range(5):
            root = pair(f"{index}.png", f"{index}.png", (0, 128, 255))
        (root / "classes.csv").write_text("value,name\n128,stroma\n255,tumour\n")
        with pytest.raises(DataError, match="255 is listed as the class tumour, and is the one left out"):
            read_labelled(settings("segmentation", root))
