"""What a layer keeps of a label map comes back, and is plain enough for napari to save."""

import json
from dataclasses import fields
from types import SimpleNamespace

import numpy as np

from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.labels.serialization import (
    METADATA_KEY,
    classes_in,
    labels_from_metadata,
    metadata_of_labels,
    plugin_metadata,
    update_metadata,
)

LABELS = np.arange(12, dtype=np.int32).reshape(3, 4)
MEASURED = {"label": np.arange(3), "area (µm²)": np.ones(3)}
WHOLE = LabelMap(
    LABELS, make_classes(["a", "b"], 1), True, {1: 2}, 0.5, (3.5, 4.0), 2.0, "x.tif", LABELS * (LABELS > 5), MEASURED
)


def test_a_label_map_comes_back_from_the_metadata_of_its_layer():
    back = labels_from_metadata(metadata_of_labels(WHOLE), WHOLE.labels, WHOLE.measurements)
    for field in fields(LabelMap):
        np.testing.assert_equal(getattr(back, field.name), getattr(WHOLE, field.name))


def test_the_metadata_is_plain():
    metadata = metadata_of_labels(WHOLE)
    assert isinstance(metadata.pop("nuclei"), np.ndarray)
    assert json.loads(json.dumps(metadata))["classes"][1] == {"value": 2, "name": "b", "colour": [77, 187, 213]}


def test_what_a_person_painted_over_is_a_nucleus_no_more():
    painted = LABELS.copy()
    painted[1, 2] = 1
    back = labels_from_metadata(metadata_of_labels(WHOLE), painted, {})
    assert back.nuclei is not None
    assert (back.nuclei[1, 2], back.nuclei[1, 3]) == (0, 7)
    other = labels_from_metadata(metadata_of_labels(WHOLE), painted[:2], {})
    assert other.nuclei is None


def test_metadata_of_others_stays():
    layer = SimpleNamespace(metadata={"theirs": 1, METADATA_KEY: {"id": "a", "name": "b"}})
    update_metadata(layer, name="c", shown=3)
    assert layer.metadata == {"theirs": 1, METADATA_KEY: {"id": "a", "name": "c", "shown": 3}}
    plugin_metadata(layer)["id"] = "changed"
    assert plugin_metadata(layer)["id"] == "a"
    assert plugin_metadata(SimpleNamespace(metadata={})) == {}
    assert classes_in({}) == ()
