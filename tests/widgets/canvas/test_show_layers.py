"""Layers are replaced by id; what a person changed survives."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.layers.base import Field, Source, derived, query_marker
from napari_sdmae.widgets.canvas.show_layers import find_layer, is_shown, mark_stale, next_limits, update_layers


@pytest.fixture
def model():
    viewer = ViewerModel()
    viewer.add_layer(Image(np.zeros((64, 64), np.uint8), name="tile"))
    return viewer


def a_map(model, what="attention b1 mean", value=1.0, key="map/a", **display):
    field = Field(Source.of(model.layers["tile"]), (0, 0), (64, 64))
    display = {"contrast_limits": (0.0, value), "colormap": "turbo"} | display
    return derived(field, np.full((4, 4), value, np.float32), what, key, {}, cell=(16, 16), first=(7.5, 7.5), **display)


def test_a_second_answer_updates_the_layer_in_place(model):
    (layer,) = update_layers(model, [a_map(model)])
    (again,) = update_layers(model, [a_map(model, "attention b2 mean", 2.0)])
    assert again is layer
    assert (layer.name, float(layer.data.max()), tuple(layer.contrast_limits)) == ("tile · attention b2 mean", 2.0, (0, 2))


def test_rename_contrast_colormap_and_visibility_survive(model):
    (layer,) = update_layers(model, [a_map(model)])
    layer.name, layer.contrast_limits, layer.colormap, layer.visible, layer.opacity = "mine", (0.1, 0.4), "gray", False, 0.3
    for value in (2.0, 3.0):
        update_layers(model, [a_map(model, "attention b2 mean", value)])
    assert (layer.name, tuple(layer.contrast_limits), layer.colormap.name) == ("mine", (0.1, 0.4), "gray")
    assert (layer.visible, layer.opacity, float(layer.data.max())) == (False, 0.3, 3.0)


def test_a_name_that_is_taken_still_follows(model):
    model.add_layer(Image(np.zeros((4, 4)), name="tile · attention b1 mean"))
    (layer,) = update_layers(model, [a_map(model)])
    assert layer.name == "tile · attention b1 mean [1]"
    update_layers(model, [a_map(model, "attention b2 mean")])
    assert layer.name == "tile · attention b2 mean"


def test_another_kind_of_picture_takes_the_place(model):
    (layer,) = update_layers(model, [a_map(model)])
    field = Field(Source.of(model.layers["tile"]), (0, 0), (64, 64))
    (colours,) = update_layers(model, [derived(field, np.zeros((4, 4, 3), np.float32), "token colours", "map/a", {}, rgb=True)])
    assert colours.rgb
    assert layer not in model.layers
    assert len(model.layers) == 2


def test_new_layers_go_below_those_that_are_meant_to_lie_on_them(model):
    (top,) = update_layers(model, [a_map(model)])
    below, again = update_layers(model, [a_map(model, "tissue", key="tissue/a"), a_map(model)])
    assert again is top
    assert [layer.name for layer in model.layers] == ["tile", "tile · tissue", "tile · attention b1 mean"]
    assert model.layers.index(below) == 1


def test_the_selection_stays(model):
    model.layers.selection.active = model.layers["tile"]
    update_layers(model, [a_map(model)])
    assert model.layers.selection.active is model.layers["tile"]


def test_a_withdrawn_layer_is_marked_and_comes_back(model):
    layer, other = update_layers(model, [a_map(model), a_map(model, "other", key="map/b")])
    identity = layer.metadata[METADATA_KEY]["id"]
    assert find_layer(model, identity) is layer
    for _ in range(2):
        mark_stale(model, identity.removesuffix("a"), {other.metadata[METADATA_KEY]["id"]})
    assert (layer.visible, layer.name, is_shown(layer)) == (False, "tile · attention b1 mean (out of date)", False)
    assert other.visible
    update_layers(model, [a_map(model, "attention b2 mean")])
    assert (layer.visible, layer.name, is_shown(layer)) == (True, "tile · attention b2 mean", True)


@pytest.mark.parametrize("withdrawn", [True, False])
def test_fewer_points_come_into_a_hidden_layer(model, withdrawn):
    field = Field(Source.of(model.layers["tile"]), (0, 0), (64, 64))
    beside = Field(field.source, (0, 100), (64, 64))
    (layer,) = update_layers(model, [query_marker([field, beside], (8, 8), (16, 16))])
    if withdrawn:
        mark_stale(model, f"{field.source.id}/")
    else:
        layer.visible = False
    update_layers(model, [query_marker([field], (8, 8), (16, 16))])
    assert (len(layer.data), layer.visible) == (1, withdrawn)


def test_limits_follow_only_while_untouched():
    assert next_limits((0, 1), (0, 1), (0, 2)) == (0, 2)
    assert next_limits((0.1, 1), (0, 1), (0, 2)) is None
    assert next_limits((0, 1), None, (0, 2)) is None
    assert next_limits((), None, None) is None
