"""Data sets as they are published: NCT-CRC-HE, PatchCamelyon, MoNuSeg, GlaS, in small trees of the same form."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from published import CASES, NCT_CLASSES, dark_objects, glas, monuseg, nct_crc, pcam, tissue_tiles, write_outlines
from skimage.draw import polygon2mask

from napari_sdmae.cli import main
from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import DataError, find_images, list_source, missing_folders
from napari_sdmae.data.labelled.class_balance import class_counts
from napari_sdmae.data.labelled.label_images import read_labels
from napari_sdmae.data.labelled.layouts.pcam import unpack
from napari_sdmae.data.labelled.read import load_labelled, read_labelled
from napari_sdmae.data.tiles.inspect import inspect
from napari_sdmae.io.images.read import InvalidImageError, read_image
from napari_sdmae.io.labels.aperio_xml import draw_outlines, read_outlines


def parts(labelled) -> dict[str, int]:
    return {part: len(labelled.part(part)) for part in ("train", "validation", "test")}


class TestNCT:
    @pytest.fixture
    def root(self, tmp_path, tissue) -> Path:
        return nct_crc(tmp_path, tissue)

    def test_both_published_folders_together_are_the_published_split(self, root, settings):
        labelled = read_labelled(settings("classification", root, labels={"validation": 0.2}))
        assert [one.name for one in labelled.classes] == list(NCT_CLASSES)
        assert parts(labelled) == {"train": 9, "validation": 1, "test": 9}
        assert {image.name.split("/")[0] for image in labelled.part("test")} == {"CRC-VAL-HE-7K"}

    def test_a_class_is_left_out_of_images_and_classes(self, root, settings):
        labelled = read_labelled(settings("classification", root / "NCT-CRC-HE-100K", labels={"leave_out": ["back"]}))
        assert [one.name for one in labelled.classes] == [name for name in NCT_CLASSES if name != "BACK"]
        assert len(labelled.images) == 9
        assert not any("BACK" in image.name for image in labelled.images)

    def test_classes_that_are_listed_are_left_out_too(self, root, settings):
        (root / "classes.csv").write_text("value,name\n" + "\n".join(f"{n},{name}" for n, name in enumerate(NCT_CLASSES)))
        labelled = read_labelled(settings("classification", root, labels={"leave_out": ["BACK", "DEB"]}))
        assert [one.value for one in labelled.classes] == [0, 3, 4, 5, 6, 7, 8]

    def test_a_class_that_is_not_there_is_told(self, root, settings):
        labelled = read_labelled(settings("classification", root, labels={"leave_out": ["BACK", "BACKGROUND"]}))
        assert "there is no class BACKGROUND to leave out" in labelled.warnings
        assert len(labelled.images) == 17

    def test_folders_are_left_out_of_pretraining(self, root, tmp_path):
        names = [file.name for file in find_images(root, ("Back", "CRC-VAL-HE-7K"))]
        assert len(names) == 9
        assert not any("/BACK/" in name or "CRC-VAL" in name for name in names)
        settings = TilesConfig(leave_out=("BACK",), tissue_filter=False, cache=tmp_path / "cache")
        assert inspect(root / "NCT-CRC-HE-100K", settings).tiles == 9
        left_out = ("back", "CRC-VAL-HE-7K", "BACKGROUND")
        assert missing_folders(list_source(root, left_out), left_out) == ["BACKGROUND"]
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "data").symlink_to(root)
        assert missing_folders(list_source(tmp_path / "linked", left_out), left_out) == ["BACKGROUND"]
        with pytest.raises(DataError, match="or its sub-folders without ADI, BACK"):
            find_images(root, NCT_CLASSES)


class TestPCam:
    @pytest.fixture
    def root(self, tmp_path, tissue) -> Path:
        return pcam(tmp_path / "published", tissue)

    def test_unpacked_tiles_are_the_published_pixels_labels_slides_and_parts(self, root, tmp_path, settings):
        last = list(unpack(root, tmp_path / "pcam"))[-1]
        assert (last.done, last.total) == (10, 10)
        labelled = read_labelled(settings("classification", tmp_path / "pcam"))
        assert [(one.value, one.name) for one in labelled.classes] == [(0, "normal"), (1, "tumour")]
        assert parts(labelled) == {"train": 6, "validation": 2, "test": 2}
        assert {image.group for image in labelled.part("test")} == {"slide camelyon16_test_000", "slide camelyon16_test_001"}
        assert labelled.warnings == ()
        for part, word in (("train", "train"), ("validation", "valid"), ("test", "test")):
            with h5py.File(root / f"camelyonpatch_level_2_split_{word}_x.h5") as x, h5py.File(str(x.filename)[:-4] + "y.h5") as y:
                for image in labelled.part(part):
                    number = int(image.path.stem)
                    np.testing.assert_array_equal(read_image(image.path), x["x"][number])
                    assert image.label == y["y"][number, 0, 0, 0]

    def test_the_command(self, root, tmp_path, capsys):
        output = tmp_path / "pcam"
        assert main(["unpack", str(root), "--output", str(output)]) == 0
        assert capsys.readouterr().out.strip() == str(output)
        assert len(find_images(output)) == 10
        assert main(["unpack", str(root), "--output", str(output)]) == 2
        assert "already" in capsys.readouterr().err
        assert main(["unpack", str(tmp_path / "elsewhere"), "--output", str(tmp_path / "b")]) == 3
        assert not (tmp_path / "b").exists()

    def test_without_the_tables_of_slides_they_are_unknown(self, root, tmp_path, settings):
        for path in root.glob("*.csv"):
            path.unlink()
        list(unpack(root, tmp_path / "pcam"))
        labelled = read_labelled(settings("classification", tmp_path / "pcam"))
        assert any("slide IDs are missing" in warning for warning in labelled.warnings)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda root: (root / "camelyonpatch_level_2_split_train_y.h5").unlink(), "train_y.h5 is missing"),
            (lambda root: (root / "camelyonpatch_level_2_split_test_x.h5").write_bytes(b"no"), "test_x.h5 cannot be read"),
            (lambda root: rewrite(root, "valid_y", "y", np.zeros((3, 1, 1, 1), np.uint8)), "3 labels for 2 images"),
            (lambda root: rewrite(root, "valid_x", "x", np.zeros((2, 64, 64, 3), np.uint8)), "expected uint8"),
            (lambda root: rewrite(root, "valid_x", "images", np.zeros((2, 96, 96, 3), np.uint8)), "no 'x' in it"),
            (lambda root: (root / "camelyonpatch_level_2_split_test_meta.csv").write_text("wsi\na\n"), "of 1 tiles, there are 2"),
            (lambda root: (root / "camelyonpatch_level_2_split_test_meta.csv").write_text("slide\na\n"), "column wsi"),
        ],
    )
    def test_what_does_not_belong_together_is_refused_and_leaves_no_folder(self, root, tmp_path, spoil, message):
        spoil(root)
        with pytest.raises(DataError, match=message):
            list(unpack(root, tmp_path / "pcam"))
        assert not (tmp_path / "pcam").exists()

    def test_packed_files_are_to_be_unzipped(self, tmp_path):
        (tmp_path / "camelyonpatch_level_2_split_train_x.h5.gz").write_bytes(b"")
        with pytest.raises(DataError, match="gunzip"):
            list(unpack(tmp_path, tmp_path / "pcam"))


def rewrite(root: Path, name: str, key: str, values: np.ndarray) -> None:
    with h5py.File(root / f"camelyonpatch_level_2_split_{name}.h5", "w") as file:
        file[key] = values


class TestMoNuSeg:
    @pytest.fixture(scope="class")
    def root(self, tmp_path_factory, tissue) -> Path:
        return monuseg(tmp_path_factory.mktemp("monuseg"), tissue)

    def test_published_parts_patients_and_nuclei(self, root, settings):
        labelled = read_labelled(settings("instances", root))
        assert parts(labelled) == {"train": 6, "validation": 1, "test": 3}
        assert [(one.value, one.name) for one in labelled.classes] == [(1, "nucleus")]
        assert {image.group for image in labelled.images if image.part != "test"} == {f"patient TCGA-{case}" for case in CASES}
        assert not any("slide IDs are missing" in warning for warning in labelled.warnings)
        image = labelled.part("train")[0]
        truth = dark_objects(read_image(image.path), 150)
        loaded = load_labelled(image, labelled, None, 255)
        outer = np.isin(loaded.target, 0) <= (truth == 0)  # holes of the objects are not in the outlines
        assert outer.all()
        assert image.counts == ((1, int(truth.max())),)

    def test_as_two_classes(self, root, settings):
        labelled = read_labelled(settings("segmentation", root))
        assert [(one.value, one.name) for one in labelled.classes] == [(0, "background"), (1, "nucleus")]
        image = labelled.part("test")[0]
        target = load_labelled(image, labelled, None, 255).target
        np.testing.assert_array_equal(np.unique(target), [0, 1])
        assert dict(image.counts) == {0: int((target == 0).sum()), 1: int((target == 1).sum())}
        assert dict(class_counts(image, "segmentation", labelled.classes, ((0, 5), (1, 3), (9, 4)), 255)) == {0: 5, 1: 7}

    def test_each_published_folder_by_itself(self, root, settings):
        alone = read_labelled(settings("instances", root / "MoNuSeg 2018 Training Data"))
        assert sum(parts(alone).values()) == 7
        assert sum(parts(read_labelled(settings("instances", root / "MoNuSegTestData"))).values()) == 3

    def test_images_without_outlines_and_outlines_without_images_are_told(self, tmp_path, tissue, settings):
        for number, tile in enumerate(tissue_tiles(tissue, 12)):
            tifffile.imwrite(tmp_path / f"{number}.tif", tile[:64, :64])
            write_outlines(tmp_path / f"{number}.xml", dark_objects(tile[:64, :64], 30))
        (tmp_path / "3.xml").unlink()
        (tmp_path / "5.tif").unlink()
        (tmp_path / "._7.xml").write_text("of macOS")
        labelled = read_labelled(settings("instances", tmp_path))
        assert labelled.unusable == (("3.tif", "no outlines 3.xml in the folder Annotations or beside it"),)
        alone = "without an image of the same name: 1 label image, "
        assert any(alone in warning and "5.xml" in warning for warning in labelled.warnings)
        assert len(labelled.images) == 10


class TestOutlines:
    def test_they_are_drawn_as_skimage_draws_polygons_and_the_smaller_lies_on_top(self, tmp_path):
        rings = [np.array([[2.2, 3.1], [20.4, 5.3], [9.7, 30.2]]), np.array([[8.3, 8.6], [30.1, 8.2], [28.3, 44.9], [9.2, 40.1]])]
        content = "".join(
            "<Region><Vertices>" + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ring) + "</Vertices></Region>"
            for ring in [*rings, rings[0][:2]]
        )
        (tmp_path / "a.xml").write_text(f"<Annotations><Annotation><Regions>{content}</Regions></Annotation></Annotations>")
        expected = np.zeros((36, 40), int)
        for number, ring in ((2, rings[1]), (1, rings[0])):  # the second is the larger
            expected[polygon2mask(expected.shape, ring[:, ::-1] - 0.5)] = number
        np.testing.assert_array_equal(read_labels(tmp_path / "a.xml", (36, 40)), expected)
        with pytest.raises(ValueError, match="give the size"):
            read_labels(tmp_path / "a.xml")

    def test_objects_come_back_exactly(self, tmp_path, tissue):
        objects = dark_objects(read_image(next(tissue.glob("tiles/colon/*.jpg"))), 30)
        write_outlines(tmp_path / "a.xml", objects)
        drawn = draw_outlines(read_outlines(tmp_path / "a.xml"), objects.shape)
        sizes = Counter(objects[objects > 0].tolist())
        assert len(sizes) > 5
        for number in sizes:
            inside = objects == number
            np.testing.assert_array_equal(drawn[inside], number)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("", "damaged or cut short"),
            ("<Annotations><Annotation>", "damaged or cut short"),
            ("<annotation><object/></annotation>", "root annotation: expected Annotations"),
            ('<Annotations><Region><Vertex X="a" Y="1"/></Region></Annotations>', "damaged or cut short"),
        ],
    )
    def test_other_files_say_why(self, tmp_path, content, reason):
        (tmp_path / "a.xml").write_text(content)
        with pytest.raises(InvalidImageError, match=reason):
            read_outlines(tmp_path / "a.xml")

    def test_outlines_of_a_slide_do_not_fit_a_tile(self):
        with pytest.raises(InvalidImageError, match="no outline lies in the image of 100 × 90 px"):
            draw_outlines([np.array([[5000, 5000], [5010, 5000], [5000, 5010], [5000, 5000.0]])], (90, 100))


class TestGlaS:
    def test_published_parts_and_glands(self, tmp_path, tissue, settings):
        root = glas(tmp_path, tissue)
        labelled = read_labelled(settings("instances", root))
        assert parts(labelled) == {"train": 5, "validation": 1, "test": 4}
        assert [one.name for one in labelled.classes] == ["gland"]
        labelled = read_labelled(settings("segmentation", root))
        assert [one.name for one in labelled.classes] == ["background", "gland"]
        assert {image.size for image in labelled.images} == {(522, 775)}
        (root / "classes.json").write_text('[{"value": 1, "name": "crypt"}]')
        assert [one.name for one in read_labelled(settings("segmentation", root)).classes] == ["background", "crypt"]
