"""Which pixels are taken of which layer."""

import numpy as np
import pytest
from napari.layers import Image

from napari_sdmae.widgets.canvas.layer_region import RegionError, bounding_box, choose_level, clip_box, read_region

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 255, (80, 60, 3), np.uint8)


def test_a_whole_rgb_picture_is_taken_as_it_is():
    taken = read_region(Image(RGB, rgb=True), (0, 0), None, None)
    assert (taken.field.origin, taken.field.size, taken.whole) == ((0, 0), (80, 60), True)
    np.testing.assert_array_equal(taken.pixels, RGB)


def test_a_region_is_cut_at_pixel_edges():
    taken = read_region(Image(RGB, rgb=True), (0, 0), (9.5, 19.5, 41.5, 51.5), None)
    assert (taken.field.origin, taken.field.size, taken.field.width) == ((10, 20), (32, 32), 60)
    np.testing.assert_array_equal(taken.pixels, RGB[10:42, 20:52])


def test_the_current_slice_of_a_stack_is_taken():
    stack = RNG.integers(0, 255, (5, 64, 64), np.uint8)
    taken = read_region(Image(stack, scale=(2, 1, 1)), (6.2, 0, 0), None, None)
    assert taken.field.index == (3.0,)
    np.testing.assert_array_equal(taken.pixels[..., 1], stack[3])


class CountingLevel:
    """A pyramid level that tells what was read of it."""

    def __init__(self, array):
        self.array, self.read = array, []
        self.shape, self.dtype, self.ndim, self.size = array.shape, array.dtype, array.ndim, array.size

    def __array__(self, dtype=None, copy=None):
        self.read.append("all")
        return self.array

    def __getitem__(self, index):
        self.read.append(index)
        return self.array[index]


def test_a_pyramid_is_read_only_at_the_level_that_is_needed():
    full = RNG.integers(0, 255, (512, 512, 3), np.uint8)
    levels = [CountingLevel(full[::step, ::step]) for step in (1, 2, 4)]
    layer = Image(levels, rgb=True, multiscale=True, scale=(0.25, 0.25), units=("µm", "µm"))
    for level in levels:
        level.read.clear()
    taken = read_region(layer, (0, 0), (127.5, 63.5, 383.5, 319.5), 0.5)
    assert taken.pixels.shape == (128, 128, 3)
    np.testing.assert_array_equal(taken.pixels, full[::2, ::2][64:192, 32:160])
    assert [len(level.read) for level in levels] == [0, 1, 0]
    assert (taken.field.origin, taken.field.step) == ((128, 64), 2.0)
    assert taken.field.mpp == pytest.approx(0.5)


def test_the_level_fits_the_model_and_the_memory():
    assert choose_level([1, 2, 4], 1e6, 0.25, 0.5) == 1
    assert choose_level([1, 4, 16], 1e6, 0.25, 0.5) == 0
    assert choose_level([1, 2, 4], 1e6, None, 0.5) == 0
    assert choose_level([1, 4, 16], 1e9, 0.25, 0.25) == 2
    with pytest.raises(RegionError, match="Choose the current view or a rectangle"):
        choose_level([1], 1e9, None, None)


def test_regions_outside_say_so():
    assert clip_box((-10.0, 5.2, 20.0, 900.0), (80, 60)) == (0, 5, 20, 60)
    with pytest.raises(RegionError, match="outside of the picture"):
        clip_box((100.0, 0.0, 200.0, 50.0), (80, 60))


def test_an_rgb_picture_opened_without_colours_says_so():
    with pytest.raises(RegionError, match="not shown in colour"):
        read_region(Image(RGB, rgb=False), (0, 0, 0), None, None)


def test_bounding_box_uses_the_last_two_axes():
    assert bounding_box(np.array([[3.0, 1.0, 5.0], [3.0, 4.0, 2.0]])) == (1.0, 2.0, 4.0, 5.0)
