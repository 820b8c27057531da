"""What is measured is what predicts: a report speaks of the very labels that people get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from seeing_heads import boxes_rule, dark_or_bright, head, nuclei_rule, seeing
from torch import Tensor

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.labelled_set import LabelledImage
from napari_sdmae.data.labelled.read import LabelledSet, read_labelled
from napari_sdmae.inference.prediction.predict import predict_file
from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.runs.events import EpochFinished, Warned
from napari_sdmae.training import finetune
from napari_sdmae.training.finetuning.classes import with_classes_of
from napari_sdmae.training.finetuning.evaluate import Evaluation, evaluate, measurable

RULES: dict[str, Callable[[Tensor], object]] = {
    "segmentation": dark_or_bright,
    "instances": nuclei_rule,
    "detection": lambda bright: boxes_rule(bright - 0.25),  # the shipped nuclei are not as dark as those of other tests
}


def measured(model: HeadModel, image: LabelledImage, labelled: LabelledSet, config: FinetuneConfig) -> tuple[Any, ...]:
    """Return what the metrics are given of an image."""
    evaluation, given = Evaluation(model, [image], labelled, config), []
    evaluation.metrics.update = lambda *values: given.append(values)  # type: ignore[method-assign]
    assert list(evaluation.run()) == [1]
    return given[0]


@pytest.fixture(params=[*RULES, "classification"])
def case(request: pytest.FixtureRequest, make_finetune, labelled_data, tmp_path: Path) -> tuple[Any, ...]:
    """A head at 0.5 µm/px, and labelled images of its task at 0.25: seen at half the size."""
    task = request.param
    model = head(task, 2 if task in ("segmentation", "classification") else 1)
    if task in RULES:
        seeing(model, RULES[task])
    changes = {"data": large_and_small(tmp_path)} if task == "classification" else {}
    config = make_finetune(task, image_mpp=0.25, **changes)
    labelled = read_labelled(config)
    return model, with_classes_of(labelled, model.spec) if task == "segmentation" else labelled, config


def large_and_small(folder: Path) -> Path:
    """Write tiles of 150 px, and pictures of several tiles that are dark in their middle only."""
    for name in ("bright", "dark"):
        (folder / name).mkdir()
        for number in range(6):
            edge, value = (150, 40 * (number + 1)) if number % 2 else (420, 230)
            pixels = np.full((edge, edge, 3), value, np.uint8)
            pixels[edge // 2 - 60 : edge // 2 + 60, edge // 2 - 60 : edge // 2 + 60] = 20 if name == "dark" else 200
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_evaluation_measures_the_labels_that_are_predicted(case) -> None:
    model, labelled, config = case
    something = 0
    for image in labelled.images[:6]:
        found = predict_file(model, image.path, mpp=0.25)
        labels = found.label_map.labels
        given = measured(model, image, labelled, config)
        if labelled.task == "classification":
            assert given[0].shape == (1, 2)
            columns = [found.label_map.measurements[f"probability {one.name}"] for one in model.spec.classes]
            np.testing.assert_allclose(given[0][0], np.mean(columns, 1), rtol=1e-5)
            something += labels.max() > 1
        elif labelled.task == "detection":
            sure = given[0].boxes[given[0].scores >= 0.5]
            np.testing.assert_array_equal(sure.ravel(), np.ravel([one[:4] for one in map(astuple, found.boxes)]))
            something += len(sure)
        else:  # on the pixels of the picture, as the labels are stored
            assert given[1].shape == labels.shape == image.size
            np.testing.assert_array_equal(given[0], labels)
            something += int(labels.max())
    assert something


def write_pairs(folder: Path, edges: list[int]) -> None:
    """Write square images of these edges, each with a mask of two classes."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
        for number, edge in enumerate(edges):
            pixels = np.full((edge, edge, 3) if name == "images" else (edge, edge), 100 if name == "images" else 0, np.uint8)
            pixels[: edge // 2] = 1
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_pictures_smaller_than_a_patch_are_left_out_and_named(make_finetune, tmp_path: Path) -> None:
    write_pairs(tmp_path, [64, 20, 20, 64])
    config = make_finetune("segmentation", data=tmp_path, image_mpp=0.25)
    labelled, model = read_labelled(config), head("segmentation", 2)
    fit, warnings = measurable(model, labelled.images)
    assert [image.name for image in fit] == ["images/0.png", "images/3.png"]
    assert len(warnings) == 1
    assert "too small for the head: images/1.png: the field of 20 x 20 px is 10 x 10 px at the model's scale" in warnings[0]
    assert warnings[0].endswith(", and 1 other")
    assert evaluate(model, fit, with_classes_of(labelled, model.spec), config)["images"] == 2
    with pytest.raises(InvalidFieldError, match=r"1\.png: the field of 20 x 20 px"):
        measurable(model, [image for image in labelled.images if image not in fit])


def test_a_run_leaves_them_out_of_its_validation_and_tells_so(make_finetune, tmp_path: Path) -> None:
    """It would else end at its first validation, after an epoch of work, and again whenever it is resumed."""
    data = tmp_path / "data"
    data.mkdir()
    write_pairs(data, [64, 64, 64, 6, 6, 6, 64, 64])
    config = make_finetune("segmentation", data=data, image_mpp=0.5, epochs=1, labels={"validation": 0.5, "test": 0.0})
    small = {"images/3.png", "images/4.png", "images/5.png"}
    assert small & {image.name for image in read_labelled(config).part("validation")}, "else nothing is tested"
    events = list(finetune(config, run=tmp_path / "run"))
    told = [event.message for event in events if isinstance(event, Warned)]
    assert any("too small for the head" in line for line in told)
    assert any(isinstance(event, EpochFinished) for event in events)
