"""What picture a layer holds: grey, colour, colour in planes, in three layers, stacks; no window."""

import numpy as np
import pytest
from napari.layers import Image

from napari_sdmae.io.images.intensity import as_rgb8
from napari_sdmae.io.images.read import read_image
from napari_sdmae.widgets.canvas.layer_region import read_region
from napari_sdmae.widgets.canvas.picture import RegionError, grouped, is_certain, mean, merged, picture_of, taken_text, trio_of
from napari_sdmae.widgets.canvas.write_layers import write_layers

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 255, (40, 60, 3), np.uint8)
DEEP = RGB.astype(np.uint16) * 16


def pixels(layer, point=(0, 0), box=None):
    return read_region(layer, point, box, None).pixels


def said(layer, point=(0, 0)):
    picture = picture_of(layer)
    return taken_text(layer, picture, picture.index(layer.world_to_data(point)))


ALPHA = np.concatenate([RGB, np.full((40, 60, 1), 255, np.uint8)], axis=2)
AS_FILES = {
    "grey": (RGB[..., 0], RGB[..., 0]),
    "RGBA": (ALPHA, ALPHA),
    "12 bits in 16": (DEEP, DEEP),
    "grey of 12 bits": (DEEP[..., 1], DEEP[..., 1]),
    "float": (RGB / np.float32(255), RGB / np.float32(255)),
    "bool": (RGB[..., 0] > 99, RGB[..., 0] > 99),
    "colours first": (np.moveaxis(RGB, -1, 0), RGB),
    "colours first, 12 bits": (np.moveaxis(DEEP, -1, 0), DEEP),
    "colours first, with alpha": (np.moveaxis(ALPHA, -1, 0), ALPHA),
}


@pytest.mark.parametrize("kind", AS_FILES)
def test_a_layer_becomes_what_a_file_of_its_values_does(kind):
    data, as_file = AS_FILES[kind]
    layer = Image(data, contrast_limits=(0.1, 0.2))
    np.testing.assert_array_equal(pixels(layer, (0,) * layer.ndim), as_rgb8(as_file))


@pytest.mark.parametrize("kind", ["12 bits in 16", "float", "colours first, 12 bits"])
def test_a_dark_part_is_as_dark_as_in_the_whole_picture(kind):
    data = AS_FILES[kind][0]
    layer = Image(data)
    dark = data // 64 if data.dtype.kind == "u" else data / 64
    corner = (slice(None), slice(0, 9), slice(0, 9)) if kind.startswith("colours") else (slice(0, 9), slice(0, 9))
    layer.data[corner] = dark[corner]
    whole = np.moveaxis(layer.data, 0, -1) if kind.startswith("colours") else layer.data
    np.testing.assert_array_equal(pixels(layer, (0,) * layer.ndim, (-0.5, -0.5, 8.5, 8.5)), as_rgb8(whole)[:9, :9])


def test_colours_first_are_one_picture_wherever_the_slider_is():
    place = {"rotate": (0, 0, 30), "units": ("pixel", "µm", "µm")}
    layer = Image(np.moveaxis(RGB, -1, 0), scale=(1, 0.5, 0.5), translate=(0, 3, 4), **place)
    taken = read_region(layer, (2, 0, 0), (9.5, 19.5, 19.5, 39.5), None)
    np.testing.assert_array_equal(taken.pixels, RGB[10:20, 20:40])
    assert (taken.field.index, taken.field.mpp) == ((), 0.5)
    flat = Image(RGB, scale=(0.5, 0.5), translate=(3, 4), rotate=30, units=("µm", "µm"))
    ours, others = taken.field.source, read_region(flat, (0, 0), None, None).field.source
    np.testing.assert_allclose(ours.linear, others.linear)
    np.testing.assert_allclose(ours.translate, others.translate)
    np.testing.assert_allclose(ours.affine, others.affine)
    assert said(layer, (2, 0, 0)) == "Using: red, green and blue in planes."


def test_a_person_can_say_that_three_planes_are_grey():
    layer = Image(np.moveaxis(RGB, -1, 0))
    taken = read_region(layer, (0, 0, 0), None, None)
    mean(layer, "grey")
    assert "another meaning" in taken.difference()
    np.testing.assert_array_equal(pixels(layer, (1, 0, 0)), as_rgb8(RGB[..., 1]))
    assert said(layer, (1, 0, 0)) == "Using: grey, plane 2 of 3."


@pytest.mark.parametrize(
    ("shape", "labels", "axis", "planes"),
    [
        ((5, 40, 60), None, None, (5,)),
        ((3, 40, 60), None, 0, ()),
        ((7, 3, 40, 60), None, 1, (7,)),
        ((3, 7, 40, 60), None, 0, (7,)),
        ((3, 3, 40, 60), ("c", "z", "y", "x"), 0, (3,)),
        ((2, 4, 9, 40, 60), ("t", "c", "z", "y", "x"), 1, (2, 9)),
        ((2, 3, 9, 40, 60), None, None, (2, 3, 9)),
        ((40, 60), None, None, ()),
    ],
)
def test_which_axis_holds_colours(shape, labels, axis, planes):
    layer = Image(np.zeros(shape, np.uint8), axis_labels=labels)
    picture = picture_of(layer)
    assert (picture.axis, picture.planes, picture.shapes) == (axis, planes, ((40, 60),))
    assert picture.doubtful == (axis is not None)
    taken = read_region(layer, (1,) * len(shape), None, None)
    assert taken.pixels.shape == (40, 60, 3)
    assert len(taken.field.source.scale) == len(shape) - (axis is not None)


def test_planes_are_counted_as_people_do():
    layer = Image(np.zeros((5, 2, 40, 60, 3), np.uint8))
    assert said(layer, (3, 1, 0, 0)) == "Using: plane 4 of 5, plane 2 of 2."
    assert said(Image(RGB)) == ""
    assert said(Image(RGB[..., 0])) == "Using: grey."


def test_values_of_no_known_range_say_so():
    with pytest.raises(RegionError, match=r"pixel values from -1 to 0; expected 0-1"):
        _ = pixels(Image(np.array([[-1.0, 0.0]])))


def split(names=("x red", "x green", "x blue"), colours=("red", "green", "blue"), **place):
    return [Image(RGB[..., at], name=names[at], colormap=colours[at], **place) for at in range(3)]


@pytest.mark.parametrize("names", [("x red", "x green", "x blue"), ("x", "x [1]", "x [2]"), ("x_R", "x_G", "x_B")])
def test_three_layers_in_red_green_and_blue_are_one_picture(names):
    layers = split(names, scale=(0.5, 0.5), units=("µm", "µm"))
    shuffled = [layers[2], Image(RGB), layers[0], layers[1]]
    for layer in layers:
        assert trio_of(layer, shuffled) == layers
    data, attributes = merged(layers)
    np.testing.assert_array_equal(data, RGB)
    whole = Image(data, **attributes)
    assert (whole.rgb, whole.name, tuple(whole.scale)) == (True, "x (RGB)", (0.5, 0.5))
    assert [len(grouped(shuffled)), len(grouped(layers[:2]))] == [2, 2]


def test_what_napari_split_by_itself_is_only_asked_about():
    layers = split(("x", "x [1]", "x [2]"), ("cyan", "yellow", "magenta"))
    assert trio_of(layers[0], layers) == layers
    assert not is_certain(layers)
    assert grouped(layers) == layers


def test_three_others_are_three_pictures():
    others = split()
    others[1].colormap = "gray"
    elsewhere = split()
    elsewhere[1].translate = (5, 5)
    for layers in (others, elsewhere, split(("a", "b", "c")), split()[:2]):
        assert trio_of(layers[0], layers) == []


def test_training_gets_the_picture_of_three_layers(tmp_path):
    (file,) = write_layers(split(), tmp_path / "split")
    np.testing.assert_array_equal(read_image(file), RGB)
    (file,) = write_layers([Image(np.moveaxis(RGB, -1, 0), name="first")], tmp_path / "planes")
    np.testing.assert_array_equal(read_image(file), RGB)


class Unread:
    """A level of 384 million pixels that must not be read."""

    shape, ndim, dtype, size = (16_000, 24_000), 2, np.dtype(np.uint8), 384_000_000

    def __getitem__(self, index):
        raise AssertionError(f"{index} was read")

    def __array__(self, *_args, **_options):
        raise AssertionError("all was read")


def test_a_huge_layer_is_refused_before_it_is_read(tmp_path, monkeypatch):
    layer = Image(np.zeros((4, 4), np.uint8), name="slide")
    monkeypatch.setattr(type(layer), "data", property(lambda _: Unread()))
    with pytest.raises(RegionError, match=r"384 million pixels.*current view or a rectangle"):
        read_region(layer, (0, 0), None, None)
    with pytest.raises(RegionError, match=r"“slide” has 384 million pixels, at most 200"):
        write_layers([layer], tmp_path / "none")
    assert not (tmp_path / "none").exists()
