"""The temperature of a classifier: chosen on the validation images, kept with the head, and in its report."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_sdmae.data.labelled.read import read_labelled
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.metrics import ClassificationMetrics
from napari_sdmae.training import RunFolder, finetune
from napari_sdmae.training.finetuning.calibration import fitted_temperature
from napari_sdmae.training.finetuning.evaluate import evaluate


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_it_undoes_what_made_the_answers_too_sure(temperature: float) -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(size=(4000, 3)) * 2
    truth = np.array([generator.choice(3, p=row) for row in softmax(honest)])
    found = fitted_temperature(softmax(honest * temperature), truth)
    assert found == pytest.approx(temperature, rel=0.1)


def test_a_few_right_answers_do_not_make_it_certain() -> None:
    sure = np.array([[0.9, 0.1], [0.1, 0.9]] * 3)
    assert 0.5 < fitted_temperature(sure, np.array([0, 1] * 3)) < 1


def test_answers_without_any_chance_are_finite() -> None:
    assert np.isfinite(fitted_temperature(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])))


def test_reliability_equals_a_slow_oracle() -> None:
    generator = np.random.default_rng(1)
    shares, truth = softmax(generator.normal(size=(500, 4)) * 3), generator.integers(0, 4, 500)
    metrics = ClassificationMetrics("abcd")
    for start in range(0, 500, 70):
        metrics.update(shares[start : start + 70], truth[start : start + 70])
    rows, off = metrics.reliability(), 0.0
    assert sum(row["images"] for row in rows) == 500
    for low in np.arange(10) / 10:
        inside = [row for row in range(500) if low <= shares[row].max() < low + 0.1]
        if inside:
            sure = np.mean([shares[row].max() for row in inside])
            right = np.mean([shares[row].argmax() == truth[row] for row in inside])
            assert any(one["sure"] == pytest.approx(sure) and one["right"] == pytest.approx(right) for one in rows)
            off += len(inside) / 500 * abs(sure - right)
    assert metrics.compute()["calibration_error"] == pytest.approx(off)


def test_the_report_is_of_the_head_with_its_temperature(make_finetune, tmp_path: Path) -> None:
    config = make_finetune("classification", epochs=3)
    run = RunFolder(tmp_path / "run")
    assert list(finetune(config, run=run.path))[-1].state == "finished"
    report, head = json.loads(run.report.read_text()), load_head(run.path)
    assert report["temperature"] == head.spec.temperature != 1
    labelled = read_labelled(config)
    again = evaluate(head, labelled.part("validation"), labelled, config)
    assert again["metrics"] == pytest.approx(report["validation"])
    assert again["reliability"] == report["parts"]["validation"]["reliability"]
    head.spec = head.spec.model_copy(update={"temperature": 1.0})
    without = evaluate(head, labelled.part("validation"), labelled, config)
    assert without["confusion"] == again["confusion"]
    assert without["reliability"] != again["reliability"]
