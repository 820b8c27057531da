"""The thresholds that separate objects are chosen on the validation images, and are those of the head that is kept."""

import json

import numpy as np
import pytest
from scipy import ndimage

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.data.labelled.read import read_labelled
from napari_sdmae.inference.prediction.rescale import RescaledPicture
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.io.images.blocks import Block, spans
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.labels.thresholds import ObjectThresholds
from napari_sdmae.labels.watershed import instance_targets
from napari_sdmae.training import RunFolder, finetune
from napari_sdmae.training.finetuning import selection
from napari_sdmae.training.finetuning.evaluate import evaluate
from napari_sdmae.training.finetuning.thresholds import Predicted, best_thresholds

SIZE = 192


@pytest.fixture(scope="module")
def spec(make_finetune) -> HeadSpec:
    """A head for nuclei of unknown scale."""
    return new_head(make_finetune("instances"), make_classes(["nucleus"], first=1), None).spec


@pytest.fixture(scope="module")
def pairs() -> np.ndarray:
    """Pairs of discs that touch, numbered."""
    labels, number = np.zeros((SIZE, SIZE), np.int32), 0
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for row in range(24, SIZE - 16, 36):
        for column in range(24, SIZE - 40, 48):
            for middle in (column, column + 17):
                number += 1
                labels[((rows - row) ** 2 + (columns - middle) ** 2 <= 81) & (labels == 0)] = number
    return labels


def maps_of(labels: np.ndarray, foreground: np.ndarray, separation: np.ndarray) -> Predicted:
    """What a head that predicts these maps would give to choose from."""
    seen = RescaledPicture(ArrayPicture(np.zeros((*labels.shape, 3), np.uint8)), *labels.shape)
    (rows,), (columns,) = (spans(SIZE, SIZE, [0], core=SIZE, margin=0) for _ in range(2))
    return Predicted(labels, {}, None, seen, ((Block(rows, columns), {"foreground": foreground, "separation": separation}),))


def best(spec: HeadSpec, tried: list[Predicted]) -> ObjectThresholds:
    """Search to the end."""
    search = best_thresholds(spec, tried)
    while True:
        try:
            next(search)
        except StopIteration as end:
            return end.value


def test_maps_with_shallow_valleys_get_a_low_threshold(spec, pairs):
    foreground, separation = instance_targets(pairs, "distance")
    flat = (0.88 + 0.12 * separation) * foreground
    assert best(spec, [maps_of(pairs, foreground, flat)]).valley < 0.15


def test_bumps_that_are_no_nuclei_get_a_high_one(spec, pairs):
    foreground, separation = instance_targets(pairs, "distance")
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=pairs.shape), 2.0)
    bumpy = np.clip(separation + 0.05 * noise / noise.std(), 0, 1).astype(np.float32) * foreground
    assert best(spec, [maps_of(pairs, foreground, bumpy)]).valley > 0.06


def test_a_head_that_is_too_sure_of_what_surrounds_nuclei_gets_a_high_probability(spec, pairs):
    _, separation = instance_targets(pairs, "distance")
    outside = ndimage.distance_transform_edt(pairs == 0)
    foreground = np.where(pairs > 0, 0.9, np.where(outside < 4, 0.55, 0.1)).astype(np.float32)
    assert best(spec, [maps_of(pairs, foreground, separation)]).inside == 0.6


def test_where_nothing_differs_the_usual_ones_are_kept(spec):
    empty = np.zeros((SIZE, SIZE), np.float32)
    assert best(spec, [maps_of(empty.astype(np.int32), empty, empty)]) == ObjectThresholds()


def test_the_report_is_of_the_head_with_its_thresholds(make_finetune, tmp_path):
    config: FinetuneConfig = make_finetune("instances")
    run = RunFolder(tmp_path / "run")
    assert list(finetune(config, run=run.path))[-1].state == "finished"
    report, head = json.loads(run.report.read_text()), load_head(run.path)
    assert report["thresholds"] == head.spec.thresholds.model_dump()
    labelled = read_labelled(run.read_config())
    for part in ("validation", "test"):
        assert evaluate(head, labelled.part(part), labelled, config)["metrics"] == pytest.approx(report[part])


def test_a_request_while_the_thresholds_are_chosen_is_answered_there(make_finetune, tmp_path, monkeypatch):
    """And the run that goes on ends as one that was never asked."""
    config, run, reference = make_finetune("instances", epochs=1), RunFolder(tmp_path / "run"), RunFolder(tmp_path / "reference")
    list(finetune(config, run=reference.path))
    real = selection.choose_thresholds

    def asked_at_once(*given):
        run.ask("pause")
        return (yield from real(*given))

    monkeypatch.setattr(selection, "choose_thresholds", asked_at_once)
    assert list(finetune(config, run=run.path))[-1].state == "paused"
    monkeypatch.undo()
    assert list(finetune(config, run=run.path, resume=True))[-1].state == "finished"
    assert json.loads(run.report.read_text()) == json.loads(reference.report.read_text())
