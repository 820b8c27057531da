"""Labels as OME-TIFF: everything back, and what tifffile, Pillow and OpenSlide see."""

from xml.etree import ElementTree

import label_cases as cases
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sdmae.io.images.read import read_mpp
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.ome_tiff import read_label_tiff, write_label_tiff
from napari_sdmae.io.labels.pyramid import level


def test_ome_tiff_is_a_tiled_pyramid_of_picked_pixels(tmp_path):
    label_map = cases.objects(cases.big())
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

    label_map = cases.classes(cases.big() % 4)
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
