"""Labels as PNG: everything back, and what Pillow sees."""

import label_cases as cases
import numpy as np
import pytest
from PIL import Image

from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.png import read_label_png, write_label_png
from napari_sdmae.io.labels.registry import export_labels, import_labels


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
