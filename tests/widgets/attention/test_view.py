"""What is asked and what is drawn: no window, no worker."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image, Layer

from napari_sdmae.inference.attention.result import AttentionMap, AttentionResult, ColourBasis
from napari_sdmae.inference.attention.token_pca import PCABasis
from napari_sdmae.io.images.field import Grid
from napari_sdmae.io.model_info.info import ModelInfo
from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.layers.base import Field, Source
from napari_sdmae.widgets.attention.statistics import as_html, table
from napari_sdmae.widgets.attention.view import Shown, View, attention_layers, attention_request, places

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (64, 48, 3), np.uint8)
FIELD = Field(Source.of(Image(PIXELS, rgb=True, name="tile")), (0, 0), (64, 48))
COLOURS = ColourBasis(PCABasis(*(np.zeros(3, np.float32),) * 5), "as it was")
LOOK = {"opacity": 0.6, "interpolation": "nearest"}


MODEL = ModelInfo("run 1", "run 1", False, Path("m"), "vit", 64, 16, 12, 6, None, None, has_decoder=False)


def found(values, method="received", head="mean", query=None, mpp=None, **numbers):
    rows, columns = values.shape[1:3] if head == "grid" else values.shape[:2]
    numbers = {"entropy": (), "gini": (), "distance_px": ()} | numbers
    one = AttentionMap(values, Grid(rows, columns, 16), method, 1, head, query, **numbers)
    return AttentionResult(one, MODEL, blocks=12, heads=6, downsample=1, mpp=mpp)


def shown(view, values, slot="a", field=FIELD, name="run 1"):
    result = found(values, view.method, view.head, (1, 0) if view.pointed or view.method == "received" else None)
    return Shown(slot, field, view, replace(result, model=replace(MODEL, name=name)))


def names(layers):
    return [attributes["name"].removeprefix("tile · ") for _, attributes, _ in layers]


@pytest.mark.parametrize(
    ("view", "title"),
    [
        (View("received", 12, 3), "attention b12 h3"),
        (View("received", 1, "mean"), "attention b1 mean"),
        (View("query", 4, "grid"), "attention of patch b4 heads"),
        (View("rollout", 12, 3), "rollout b12"),
        (View("pca", 2), "token colours b2"),
        (View("similarity", 2), "similarity b2"),
    ],
)
def test_titles(view, title):
    assert view.title == title


def test_the_request_counts_from_zero_and_leaves_out_what_a_method_does_not_use():
    made = attention_request(View("received", 12, 3), "m", PIXELS, (1, 2), mpp=0.5, colours=COLOURS)
    assert (made.block, made.head, made.query, made.mpp, made.colours) == (11, 2, None, 0.5, None)
    assert attention_request(View("query", 1), "m", PIXELS, (1, 2), mpp=None).query == (1, 2)
    assert attention_request(View("pca", 1), "m", PIXELS, None, mpp=None, colours=COLOURS).colours is COLOURS


def test_a_view_is_fitted_to_a_smaller_model():
    assert View("received", 12, 6).fitted(3, 4) == View("received", 3, 4)
    assert View("received", 2, "grid").fitted(3, 4) == View("received", 2, "grid")


def test_one_map_lies_on_the_picture():
    view = View("received", 12, 3)
    layers = attention_layers([shown(view, RNG.random((4, 3), np.float32))], PIXELS, **LOOK)
    assert names(layers) == ["attention b12 h3"]
    layer = Layer.create(*layers[0])
    np.testing.assert_allclose(layer.data_to_world((-0.5, -0.5)), (-0.5, -0.5))
    np.testing.assert_allclose(layer.data_to_world((3.5, 2.5)), (63.5, 47.5))
    assert layer.metadata[METADATA_KEY]["parameters"] == {"method": "received", "block": 11, "head": 2, "query": (23.5, 7.5)}


def test_every_head_has_its_tissue_and_name():
    maps = RNG.random((5, 4, 3), np.float32)
    tissue, heads, labels = attention_layers([shown(View("received", 2, "grid"), maps)], PIXELS, **LOOK)
    assert names([tissue, heads, labels]) == ["tissue for the heads", "attention b2 heads", "heads"]
    below, above = Layer.create(*tissue), Layer.create(*heads)
    detail = below.data.shape[0] / above.data.shape[0]
    for corner in np.array([(0, 0), above.data.shape]):
        np.testing.assert_allclose(below.data_to_world(corner * detail - 0.5), above.data_to_world(corner - 0.5))
    assert list(labels[1]["text"]["string"]) == ["h1", "h2", "h3", "h4", "h5"]
    corner = np.array(Layer.create(*labels).data_to_world(labels[0][4]))
    np.testing.assert_allclose(corner, above.data_to_world((6, 5)) - np.array([7.5, 7.5]))
    assert above.extent.world[0, 1] > 47.5


def test_two_models_share_one_scale_and_lie_side_by_side():
    view = View("query", 2)
    dark, bright = np.full((4, 3), 0.01, np.float32), np.full((4, 3), 0.2, np.float32)
    layers = attention_layers([shown(view, dark), shown(view, bright, "b", name="run 2")], PIXELS, **LOOK)
    assert names(layers) == [
        "attention of patch b2 mean · run 1",
        "tissue for run 2",
        "attention of patch b2 mean · run 2",
        "query patch",
    ]
    assert layers[0][1]["contrast_limits"] == layers[2][1]["contrast_limits"] == pytest.approx((0, 0.2))
    assert Layer.create(*layers[2]).extent.world[0, 1] > Layer.create(*layers[0]).extent.world[1, 1]
    assert len(layers[3][0]) == 2


def test_of_a_part_of_a_picture_both_maps_lie_beside_it():
    part = Field(FIELD.source, (16, 16), (32, 32), width=48)
    pair = [shown(View(), np.ones((2, 2), np.float32), field=part), shown(View(), np.ones((2, 2), np.float32), "b", part)]
    assert [place.origin[1] for place in places(pair)] == [50, 84]
    assert [place.origin[1] for place in places(pair[:1])] == [16]


def test_token_colours_are_rgb():
    layers = attention_layers([shown(View("pca", 2), RNG.random((4, 3, 3), np.float32))], PIXELS, **LOOK)
    assert layers[0][1]["rgb"] is True
    assert "colormap" not in layers[0][1]


def test_numbers_beside_the_picture():
    flat, numbers = np.ones((4, 4), np.float32) / 16, {"entropy": (3.456,), "gini": (0.25,), "distance_px": (10.0, 30.0)}
    assert table(found(flat, **numbers)) == (
        ["Head", "Entropy\n(≤ 2.77)", "Gini", "Distance\n(px)"],
        [["mean", "3.46", "0.25", "20.0"]],
    )
    assert table(found(flat, head=1, mpp=0.5, **numbers))[1] == [["h2", "3.46", "0.25", "15.0"]]
    grid = numbers | {"entropy": (1.0, 2.0), "gini": (0.1, 0.2)}
    both = table(found(np.stack([flat, flat]), head="grid", mpp=0.5, **grid))
    assert both[1] == [["h1", "1.00", "0.10", "5.0"], ["h2", "2.00", "0.20", "15.0"]]
    assert table(found(flat, "rollout", entropy=(1.0,), gini=(0.5,)))[1] == [["all", "1.00", "0.50"]]
    assert table(found(flat, "similarity"))[1] == []
    basis = PCABasis(*(np.zeros(3, np.float32),) * 4, np.array([0.5, 0.25, 0.1], np.float32))
    colours = found(np.ones((4, 4, 3), np.float32), "pca", pca=basis)
    assert table(colours)[1] == [["red", "50%"], ["green", "25%"], ["blue", "10%"]]
    assert "a &lt; b" in as_html(["Head"], [["a < b"]])
