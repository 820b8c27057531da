"""Derived layers lie exactly on their source: checked against napari's own transforms (no window is opened)."""

import numpy as np
import pytest
from napari.layers import Image, Layer

from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.layers.base import Field, Source, beside, derived, mosaic, query_marker, robust_limits
from napari_sdmae.layers.previews import preview_layers, strip

PATCH = 16
PLACES = [
    {},
    {"scale": (0.5, 0.5), "translate": (100.0, -20.0), "units": ("µm", "µm"), "axis_labels": ("y", "x")},
    {"scale": (0.5, 0.7), "rotate": 30.0, "translate": (5.0, 6.0)},
    {"scale": (2.0, 3.0), "rotate": -17.0, "shear": [0.3], "translate": (1.0, 2.0)},
    {"scale": (0.25, 0.5), "shear": [0.2], "affine": [[0.9, 0.1, 7.0], [-0.2, 1.1, 8.0], [0.0, 0.0, 1.0]]},
]


def source_layer(**place):
    return Image(np.zeros((640, 480), np.uint8), name="slide 7", **place)


def world(layer, *position):
    return np.asarray(layer.data_to_world(position))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("step", [1.0, 4.0])
def test_a_map_of_patches_covers_exactly_its_patches(place, step):
    """The corners of every map element are the corners of its patch in the source: no half-patch shift."""
    source = source_layer(**place)
    field = Field(Source.of(source), (64, 32), (128, 96), step)
    cell = (PATCH, PATCH)
    layer = Layer.create(
        *derived(field, np.zeros((8, 6), np.float32), "attention b12 h3", "map/a", {}, cell=cell, first=((PATCH - 1) / 2,) * 2)
    )
    for row, column in [(0, 0), (3, 5), (7, 1)]:
        for corner in [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5)]:
            edge = np.array([row, column]) + 0.5 + corner  # in patches from the field's first edge
            expected = world(source, *(np.array([64, 32]) - 0.5 + edge * PATCH * step))
            np.testing.assert_allclose(world(layer, row + corner[0], column + corner[1]), expected, atol=1e-9)


@pytest.mark.parametrize("place", PLACES)
def test_a_picture_lies_pixel_on_pixel(place):
    source = source_layer(**place)
    field = Field(Source.of(source), (100, 50), (40, 30))
    layer = Layer.create(*derived(field, np.zeros((40, 30, 3), np.uint8), "reconstruction", "r", {}, rgb=True))
    np.testing.assert_allclose(world(layer, 7, 9), world(source, 107, 59), atol=1e-9)
    assert layer.units == source.units
    assert layer.axis_labels == source.axis_labels


def test_a_slice_of_a_stack_stays_on_its_slice():
    source = Image(
        np.zeros((5, 64, 64), np.uint8),
        scale=(3, 0.5, 0.5),
        translate=(10, 1, 2),
        units=("s", "µm", "µm"),
        axis_labels=("t", "y", "x"),
    )
    field = Field(Source.of(source), (16, 0), (32, 32), index=(4.0,))
    layer = Layer.create(*derived(field, np.zeros((2, 2), np.float32), "attention", "map/a", {}, cell=(16, 16), first=(7.5, 7.5)))
    assert layer.data.shape == (1, 2, 2)
    np.testing.assert_allclose(world(layer, 0, 0, 0), world(source, 4, 23.5, 7.5))
    assert layer.axis_labels == ("t", "y", "x")
    assert layer.units == source.units


def test_field_pixels_and_source_positions_are_inverse():
    field = Field(Source.of(source_layer()), (64, 32), (128, 96), 4.0, index=())
    assert field.pixel(field.position(3.25, 7.5)) == (3.25, 7.5)
    assert field.contains(-0.4, 95.4)
    assert not field.contains(-0.6, 3)
    assert not field.contains(3, 95.6)


def test_name_and_provenance():
    source = source_layer()
    field = Field(Source.of(source), (0, 0), (32, 32))
    provenance = {"model": "m", "parameters": {"block": 11}}
    _, attributes, kind = derived(field, np.zeros((2, 2)), "attention b12 h3", "map/a", provenance)
    assert attributes["name"] == "slide 7 · attention b12 h3"
    assert attributes["metadata"][METADATA_KEY] == {
        "id": f"{source.unique_id}/map/a",
        "name": attributes["name"],
        "model": "m",
        "parameters": {"block": 11},
    }
    assert kind == "image"


def test_micrometres_per_pixel():
    assert Source.of(source_layer()).mpp is None
    assert Source.of(source_layer(scale=(0.5, 0.5), units=("µm", "µm"))).mpp == pytest.approx(0.5)
    fine = source_layer(scale=(0.00025, 0.00025), units=("mm", "mm"))
    assert Field(Source.of(fine), (0, 0), (8, 8), 4.0).mpp == pytest.approx(1.0)


def test_beside_a_whole_picture_and_beside_a_part_of_one():
    whole = Field(Source.of(source_layer()), (0, 0), (640, 480))
    assert beside(whole, 0) is whole
    assert [beside(whole, place).origin for place in (1, 2)] == [(0, 504), (0, 1008)]
    part = Field(whole.source, (100, 50), (100, 100), width=480)
    assert [beside(part, place).origin for place in (1, 2)] == [(100, 485), (100, 590)]


def test_query_marker_is_as_large_as_a_patch_in_every_place():
    source = source_layer(scale=(0.5, 0.5))
    field = Field(Source.of(source), (0, 0), (64, 64), width=480)
    layer = Layer.create(*query_marker([field, beside(field)], (23.5, 7.5), (PATCH, PATCH)))
    assert layer.size[0] == PATCH
    np.testing.assert_allclose(world(layer, *layer.data[0]), world(source, 23.5, 7.5))
    np.testing.assert_allclose(world(layer, *layer.data[1]), world(source, 23.5, 7.5 + 480 + 3))


def test_mosaic_puts_every_map_at_its_corner():
    maps = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)
    picture, corners = mosaic(maps, 3, 1)
    assert picture.shape == (5, 11)
    assert corners == [(0, 0), (0, 4), (0, 8), (3, 0), (3, 4)]
    for (row, column), one in zip(corners, maps, strict=True):
        np.testing.assert_array_equal(picture[row : row + 2, column : column + 3], one)
    assert np.isnan(picture[2]).all()


def test_limits_are_common_and_robust():
    calm, bright = np.linspace(0, 1, 1000), np.append(np.linspace(0, 2, 999), 1000.0)
    low, high = robust_limits(calm, bright)
    assert low == 0
    assert 1.9 < high < 2.1
    assert robust_limits(np.zeros((4, 4))) == (0.0, 1.0)
    assert robust_limits(np.array([-0.5, np.nan, 0.5]), from_zero=False) == pytest.approx((-0.495, 0.495))


def test_previews_become_four_strips(tmp_path):
    tiles = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    file = tmp_path / "run 1" / "previews" / "epoch-000002.npz"
    file.parent.mkdir(parents=True)
    np.savez(file, input=tiles, masked=tiles, reconstruction=tiles, error=tiles[..., 0].astype(np.float32))
    layers = preview_layers(tmp_path / "run 1", file)
    assert [attributes["name"] for _, attributes, _ in layers] == [
        f"run 1 · {name}" for name in ("input", "masked", "reconstruction", "error")
    ]
    np.testing.assert_array_equal(layers[0][0][:, 40:72], tiles[1])
    assert layers[3][0].shape == (32, 112)
    assert [attributes["translate"][0] for _, attributes, _ in layers] == [0, 40, 80, 120]
    assert strip(tiles).shape == (32, 112, 3)
