"""Layers become TIFFs on which the same command trains without napari."""

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from PIL import Image as Picture

from napari_sdmae.io.images.read import read_image, read_mpp
from napari_sdmae.widgets.canvas.layer_region import read_region
from napari_sdmae.widgets.canvas.write_layers import finest_level, write_layers


@pytest.fixture
def region(tissue):
    return np.asarray(Picture.open(tissue / "regions" / "skin_morphea.jpg").convert("RGB"))[:300, :400]


def test_a_layer_comes_back_pixel_by_pixel_with_its_scale(tmp_path, region):
    layer = Image(region, name="skin: morphea", scale=(0.5, 0.5), units=("um", "um"))
    (file,) = write_layers([layer], tmp_path / "sources")
    assert file.name == "skin-morphea.tif"
    np.testing.assert_array_equal(read_image(file), region)
    assert read_mpp(file) == pytest.approx(0.5, rel=1e-4)


def test_a_layer_in_pixels_has_no_scale(tmp_path, region):
    (file,) = write_layers([Image(region)], tmp_path)
    assert read_mpp(file) is None


def test_a_stack_becomes_one_file_per_plane_and_equal_names_stay_apart(tmp_path, region):
    stack = np.stack([region, 255 - region])
    files = write_layers([Image(stack, name="a", rgb=True), Image(region, name="a")], tmp_path)
    assert [file.name for file in files] == ["a-0000.tif", "a-0001.tif", "a-2.tif"]
    np.testing.assert_array_equal(tifffile.imread(files[1]), 255 - region)


def test_grey_and_deep_layers_are_written_as_files_of_them_are_read(tmp_path, region):
    grey = region[..., 1].astype(np.uint16) * 16
    (file,) = write_layers([Image(grey, contrast_limits=(0, 99))], tmp_path)
    tifffile.imwrite(tmp_path / "grey.tif", grey)
    np.testing.assert_array_equal(read_image(file), read_image(tmp_path / "grey.tif"))


def test_training_sees_the_pixels_that_are_shown(tmp_path, region):
    alpha = np.full((*region.shape[:2], 1), 255, np.uint8)
    alpha[:100] = 0
    layer = Image(np.concatenate([region, alpha], axis=2), rgb=True)
    (file,) = write_layers([layer], tmp_path)
    np.testing.assert_array_equal(read_image(file), read_region(layer, (0, 0), None, None).pixels)
    assert (read_image(file)[:100] == 255).all()
    np.testing.assert_array_equal(read_image(file)[100:], region[100:])


def test_of_a_pyramid_the_finest_level_that_fits_is_taken_with_its_own_scale(tmp_path, region, monkeypatch):
    monkeypatch.setattr("napari_sdmae.widgets.canvas.write_layers.finest_level", lambda shapes: finest_level(shapes, 40_000))
    layer = Image([region, region[::2, ::2]], multiscale=True, scale=(0.25, 0.25), units=("um", "um"))
    (file,) = write_layers([layer], tmp_path)
    np.testing.assert_array_equal(tifffile.imread(file), region[::2, ::2])
    assert read_mpp(file) == pytest.approx(0.5, rel=1e-4)


def test_levels_are_chosen_by_their_pixels():
    shapes = [(4000, 4000), (2000, 2000), (1000, 1000)]
    assert [finest_level(shapes, most) for most in (16_000_000, 5_000_000, 10)] == [0, 1, 2]


def test_no_layers_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="select one or more"):
        write_layers([], tmp_path)
