"""Annotations exported from QuPath as labels: classes, holes, regions annotated completely, what is not learned, cells."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.inspect import inspect_labelled
from napari_sdmae.data.labelled.load import load_labelled
from napari_sdmae.data.labelled.read import read_labelled
from napari_sdmae.io.labels import import_labels
from napari_sdmae.labels.label_map import IGNORE

SIZE = 96
RED, GREEN = [200, 0, 0], [0, 150, 0]


def square(left: int, top: int, edge: int) -> list[list[float]]:
    """Return a closed ring (x, y)."""
    return [[left, top], [left + edge, top], [left + edge, top + edge], [left, top + edge], [left, top]]


def annotation(name: str | None, *rings: list[list[float]], colour: list[int] = RED, kind: str = "annotation") -> dict[str, Any]:
    """Return a feature as QuPath 0.5 writes it."""
    properties: dict[str, Any] = {"objectType": kind}
    if name is not None:
        properties["classification"] = {"name": name, "color": colour}
    return {
        "type": "Feature",
        "id": name or "x",
        "geometry": {"type": "Polygon", "coordinates": list(rings)},
        "properties": properties,
    }


REGION = annotation("Region*", square(0, 0, 64))
TUMOUR = annotation("Tumor", square(8, 8, 32), square(16, 16, 8))  # with a hole
STROMA = annotation("Stroma", square(72, 72, 16), colour=GREEN)
IGNORED = annotation("Ignore*", square(40, 40, 16))


@pytest.fixture
def export(tmp_path: Path, tissue: Path):
    """Return a function that writes images with annotations, and returns their folder."""
    pixels = np.asarray(Image.open(sorted((tissue / "tiles").rglob("*.jpg"))[0]).convert("RGB"))[:SIZE, :SIZE]

    def write(*files: list[dict[str, Any]], names: tuple[str, str] = ("images/{}.png", "annotations/{}.geojson")) -> Path:
        for number, features in enumerate(files):
            image, drawn = (tmp_path / "data" / name.format(f"slide{number}") for name in names)
            for path in (image, drawn):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(image)
            content = json.dumps({"type": "FeatureCollection", "features": features}).encode()
            drawn.write_bytes(gzip.compress(content) if drawn.suffix == ".gz" else content)
        return tmp_path / "data"

    return write


def settings(task: str, data: Path, **labels: Any) -> FinetuneConfig:
    return FinetuneConfig.model_validate(
        {"task": task, "data": data, "image_mpp": 0.5, "labels": {"validation": 0, "test": 0} | labels}
    )


def targets(task: str, data: Path) -> tuple[Any, Any]:
    """Return the labelled set, and its first image as it is learned."""
    config = settings(task, data)
    labelled = read_labelled(config)
    assert not labelled.unusable
    return labelled, load_labelled(labelled.images[0], labelled, None, config.labels.ignore_value)


def box(left: int, top: int, edge: int) -> np.ndarray:
    """Return the pixels of a square."""
    inside = np.zeros((SIZE, SIZE), bool)
    inside[top : top + edge, left : left + edge] = True
    return inside


def test_regions_are_complete_and_outside_only_what_is_drawn_counts(export) -> None:
    labelled, loaded = targets("segmentation", export([REGION, TUMOUR, STROMA, IGNORED]))
    assert [(one.value, one.name, one.colour) for one in labelled.classes] == [
        (0, "background", (0, 0, 0)),
        (1, "Stroma", tuple(GREEN)),
        (2, "Tumor", tuple(RED)),
    ]
    wanted = np.where(box(0, 0, 64), 0, IGNORE)
    wanted[box(8, 8, 32) & ~box(16, 16, 8)] = 2
    wanted[box(72, 72, 16)] = 1
    wanted[box(40, 40, 16)] = IGNORE
    np.testing.assert_array_equal(loaded.target, wanted)
    assert dict(labelled.images[0].counts) == {0: 64**2 - (32**2 - 8**2) - 16**2, 1: 16**2, 2: 32**2 - 8**2}
    assert not labelled.warnings or not any("not learned" in one for one in labelled.warnings)


def test_without_a_region_only_what_is_drawn_is_learned(export) -> None:
    labelled, loaded = targets("segmentation", export([TUMOUR, STROMA]))
    assert [one.name for one in labelled.classes] == ["Stroma", "Tumor"]
    assert (loaded.target == IGNORE).sum() == SIZE**2 - (32**2 - 8**2) - 16**2


def test_what_is_learned_is_what_import_labels_reads(export) -> None:
    data = export([TUMOUR, STROMA])
    _, loaded = targets("segmentation", data)
    read = import_labels(data / "annotations/slide0.geojson", shape=(SIZE, SIZE), mpp=0.5)
    names = {one.value: one.name for one in read.classes}
    tumour = next(value for value, name in names.items() if name == "Tumor")
    np.testing.assert_array_equal(read.labels == tumour, loaded.target == 1)
    np.testing.assert_array_equal(read.labels > 0, loaded.target >= 0)


def test_objects_have_numbers_and_types(export) -> None:
    cells = [annotation(name, square(8 + 20 * place, 8, 12), kind="detection") for place, name in enumerate(["a", "b", "a"])]
    labelled, loaded = targets("instances", export([*cells]))
    assert [one.name for one in labelled.classes] == ["a", "b"]
    assert [int(loaded.target[12, 12 + 20 * place]) for place in range(3)] == [1, 2, 3]
    assert loaded.types == {1: 0, 2: 1, 3: 0}
    assert loaded.unlearned is None
    assert dict(labelled.images[0].counts) == {1: 2, 2: 1}


def test_nuclei_of_cells_are_learned_without_any_class(export) -> None:
    cell = annotation(None, square(10, 10, 30), kind="cell") | {
        "nucleusGeometry": {"type": "Polygon", "coordinates": [square(18, 18, 12)]}
    }
    labelled, loaded = targets("instances", export([cell]))
    assert [one.name for one in labelled.classes] == ["nucleus"]
    np.testing.assert_array_equal(loaded.target > 0, box(18, 18, 12))


def test_nuclei_outside_of_a_region_are_known_and_their_surroundings_are_not(export) -> None:
    data = export(
        [annotation("Region*", square(0, 0, 48)), annotation(None, square(8, 8, 12)), annotation(None, square(70, 70, 12))]
    )
    labelled, loaded = targets("instances", data)
    assert set(np.unique(loaded.target)) == {0, 1, 2}
    np.testing.assert_array_equal(loaded.unlearned, ~box(0, 0, 48) & ~box(70, 70, 12))
    tiles = LabelledTiles(labelled.images, labelled, settings("instances", data), tile=SIZE, mpp=0.5)
    foreground = tiles.batch(np.array([0]), 0, augmented=False).targets["foreground"][0, 0].numpy()
    np.testing.assert_array_equal(foreground == IGNORE, loaded.unlearned)
    np.testing.assert_array_equal(foreground == 1, loaded.target > 0)


@pytest.mark.parametrize(
    "names",
    [
        ("images/{}.png", "labels/{}.geojson"),
        ("images/{}.png", "masks/{}.geojson.gz"),
        ("images/{}.png", "images/{}.geojson"),
        ("images/{}.png", "annotations/{}.png.geojson"),
        ("{}.png", "{}.geojson"),
        ("train/images/{}.png", "train/annotations/{}.geojson"),
    ],
)
def test_the_files_lie_where_people_put_them(export, names: tuple[str, str]) -> None:
    labelled = read_labelled(settings("segmentation", export([REGION, TUMOUR], [REGION, STROMA], names=names)))
    assert len(labelled.images) == 2
    assert not labelled.unusable
    assert not any("left out" in one or "not read" in one for one in labelled.warnings)


def test_a_table_names_them(export) -> None:
    data = export([REGION, TUMOUR])
    (data / "table.csv").write_text("file,mask,slide\nimages/slide0.png,annotations/slide0.geojson,A\n")
    (image,) = read_labelled(settings("segmentation", data / "table.csv")).images
    assert image.group == "slide A"


def test_classes_that_are_listed_keep_their_values(export) -> None:
    data = export([REGION, TUMOUR], [REGION, STROMA])
    (data / "classes.json").write_text(json.dumps([{"value": 7, "name": "tumor"}, {"value": 3, "name": "stroma"}]))
    labelled = read_labelled(settings("segmentation", data))
    assert [(one.value, one.name) for one in labelled.classes] == [(0, "background"), (3, "stroma"), (7, "tumor")]
    assert [dict(image.counts).keys() - {0} for image in labelled.images] == [{7}, {3}]


def test_inspect_tells_amounts(export) -> None:
    found = inspect_labelled(settings("segmentation", export([REGION, TUMOUR, STROMA])))
    assert found.parts["train"].amounts["Tumor"] == 32**2 - 8**2


@pytest.mark.parametrize(
    ("task", "features", "message"),
    [
        (
            "segmentation",
            [annotation("Tumor", square(500, 500, 20))],
            "no annotation of slide0.geojson lies in the image of 96 × 96 px",
        ),
        (
            "instances",
            [annotation(None, square(500, 500, 20))],
            "no annotation of slide0.geojson lies in the image of 96 × 96 px",
        ),
        ("segmentation", [{"type": "Feature", "geometry": {"type": "Polygon"}}], "feature 1 is damaged"),
        ("segmentation", [TUMOUR], "only the value 1.*Region"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(export, task: str, features: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labelled(settings(task, export(features)))


def test_a_class_that_is_not_listed_makes_its_image_unusable(export) -> None:
    data = export(*[[REGION, TUMOUR]] * 10, [REGION, STROMA])
    (data / "classes.json").write_text(json.dumps([{"value": 1, "name": "Tumor"}]))
    labelled = read_labelled(settings("segmentation", data))
    assert labelled.unusable == (("images/slide10.png", "slide10.geojson has the class Stroma, which is not listed (Tumor)"),)
