"""Strokes to segmentation: the fit against slow oracles, the map against the linear head of a head folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize
from threadpoolctl import threadpool_info

from napari_sdmae.inference.scribbles import linear_head
from napari_sdmae.inference.scribbles.classifier import Samples, agreement, blend, classifier, encode_windows, sample
from napari_sdmae.inference.scribbles.linear_head import PENALTY, fit_linear_head, nearest_votes
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.io.checkpoints.load import load_encoder
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.models.heads.sliding_window import predict_windows
from napari_sdmae.worker.cache import MODEL_CACHE
from napari_sdmae.worker.protocol import (
    SaveScribblesRequest,
    ScribbleRequest,
    ScribbleResult,
    SegmentRequest,
    WorkerError,
    handle,
)

RGB = NDArray[np.uint8]


def blobs(seed: int = 0, count: int = 3, per_class: tuple[int, ...] = (40, 15, 90), width: int = 7) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(count, width)) * 1.2
    classes = np.repeat(np.arange(count), per_class)
    features = centres[classes] + generator.normal(size=(len(classes), width)) * np.linspace(0.2, 6, width) + 3
    return features.astype(np.float32), classes


def slow_logistic(features: Any, classes: Any, count: int) -> tuple[Any, Any]:
    """The same problem written down sample by sample in float64, solved without gradients of ours."""
    features = features.astype(np.float64)
    weights = np.array([1 / count / (classes == one).sum() for one in classes])
    mean = (weights[:, None] * features).sum(0)
    deviation = np.sqrt((weights[:, None] * (features - mean) ** 2).sum(0))
    scaled, width = (features - mean) / deviation, features.shape[1]

    def loss(parameters: Any) -> float:
        weight, bias = parameters[: count * width].reshape(count, width), parameters[count * width :]
        total = PENALTY / 2 * float((weight**2).sum())
        for one, true, share in zip(scaled, classes, weights, strict=True):
            logits = weight @ one + bias
            total += share * (np.logaddexp.reduce(logits) - logits[true])
        return total

    found = minimize(loss, np.zeros(count * width + count), method="BFGS", options={"gtol": 1e-7}).x
    weight = found[: count * width].reshape(count, width) / deviation
    return weight, found[count * width :] - weight @ mean


def test_the_fit_is_that_of_a_slow_solver() -> None:
    features, classes = blobs()
    head = fit_linear_head(features, classes, 3)
    weight, bias = slow_logistic(features, classes, 3)
    np.testing.assert_allclose(head.weight, weight, atol=2e-3)
    probabilities = [
        np.exp(one - np.logaddexp.reduce(one, axis=1, keepdims=True))
        for one in (head.logits(features), features @ weight.T + bias)
    ]
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=2e-3)


def test_a_known_rule_is_recovered_whatever_the_balance() -> None:
    generator = np.random.default_rng(3)
    rule = generator.normal(size=(20,))
    features = generator.normal(size=(4000, 20)).astype(np.float32) * 2 + 5
    true = ((features - 5) @ rule > 0).astype(np.int64)
    rare = np.flatnonzero(true == 1)[:30]
    chosen = np.concatenate([np.flatnonzero(true == 0)[:1500], rare])
    head = fit_linear_head(features[chosen], true[chosen], 2)
    direction = head.weight[1] - head.weight[0]
    assert direction @ rule / np.linalg.norm(direction) / np.linalg.norm(rule) > 0.9
    right = head.logits(features).argmax(1) == true
    assert min(right[true == value].mean() for value in (0, 1)) > 0.8


def test_the_same_strokes_give_the_same_head_bit_for_bit() -> None:
    features, classes = blobs()
    first, second = (fit_linear_head(features, classes, 3) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    np.testing.assert_array_equal(first.bias, second.bias)


def test_a_class_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        fit_linear_head(np.ones((4, 2), np.float32), np.array([0, 0, 2, 2]), 3)


def test_votes_are_those_of_a_loop() -> None:
    features, classes = blobs(1)
    asked = blobs(2)[0][::7]
    votes = nearest_votes(asked, features, classes, 3, neighbours=5)
    for row, one in zip(votes, asked, strict=True):
        cosines = [float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) for other in features]
        best = sorted(range(len(features)), key=lambda index: -cosines[index])[:5]
        told = np.zeros(3)
        for index in best:
            told[classes[index]] += np.exp((cosines[index] - 1) / 0.07) / (classes == classes[index]).sum()
        np.testing.assert_allclose(row, told / told.sum(), rtol=1e-3, atol=1e-4)


def make_samples(strokes: Any, values: Any, features: Any) -> Samples:
    return Samples(np.asarray(features, np.float32), np.asarray(values), np.asarray(strokes), np.arange(len(values)))


def test_agreement_leaves_whole_strokes_out() -> None:
    """Every stroke has its own look: pixels of one stroke tell each other, no other stroke tells them."""
    generator = np.random.default_rng(0)
    looks = np.eye(8) * 10
    values = np.array([1, 2] * 4)
    features = np.repeat(looks, 20, 0) + generator.normal(size=(160, 8)) * 0.01
    told = agreement(make_samples(np.repeat(np.arange(8), 20), np.repeat(values, 20), features), [1, 2], "linear")
    assert set(told) == {1, 2}
    assert np.mean(list(told.values())) <= 0.6
    shared = np.where(np.repeat(values, 20)[:, None] == 1, 5, -5) + generator.normal(size=(160, 8))
    told = agreement(make_samples(np.repeat(np.arange(8), 20), np.repeat(values, 20), shared), [1, 2], "linear")
    assert told == {1: 1.0, 2: 1.0}


def test_agreement_is_not_told_from_single_strokes() -> None:
    features, classes = blobs(per_class=(30, 30), count=2)
    assert agreement(make_samples(classes, classes + 1, features), [1, 2], "linear") == {}


def test_joined_strokes_stay_apart() -> None:
    one = make_samples([0, 1], [1, 2], np.zeros((2, 3)))
    assert Samples.join([one, one]).strokes.tolist() == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def field(tissue: Path) -> RGB:
    """Skin, 150 × 210 px: neither whole patches nor whole windows."""
    return np.ascontiguousarray(np.asarray(Image.open(tissue / "regions" / "skin_morphea.jpg").convert("RGB"))[700:850, 600:810])


def strokes() -> dict[str, Any]:
    """Two strokes of each of the classes 1 and 3."""
    places, values, numbers = [], [], []
    for number, (value, row, column) in enumerate(((1, 20, 20), (3, 30, 130), (1, 100, 40), (3, 110, 180))):
        for along in range(25):
            places += [(row, column + along), (row + 1, column + along)]
            values += [value] * 2
            numbers += [number] * 2
    return {"positions": np.array(places, np.float32), "values": np.array(values), "strokes": np.array(numbers)}


CLASSES = make_classes(["epidermis", "fat", "stroma"], first=1)


def scribble(model: Path, field: RGB, **more: Any) -> ScribbleResult:
    return handle(ScribbleRequest(**{"model": str(model), "image": field, "classes": CLASSES, **strokes(), **more}))


def save(model: Path, result: ScribbleResult, folder: Path, **more: Any) -> Path:
    assert result.head is not None
    return handle(SaveScribblesRequest(folder, str(model), result.head, CLASSES, **more))


def test_samples_are_what_interpolation_draws(model_folder: Path, field: RGB) -> None:
    """A head fitted to samples is a head fitted to the map: their logits are the map's before the blend."""
    tokens = encode_windows(load_encoder(model_folder), field)
    places = np.array([[0, 0], [9.5, 70.2], [101, 33], [149, 209]], np.float32)
    taken = sample(tokens, places, np.ones(4, np.int64), np.zeros(4, np.int64))
    height, width = tokens.window
    number = 0
    for window, (row, column) in zip(tokens.tokens, tokens.corners, strict=True):
        drawn = torch.nn.functional.interpolate(window[None], (height, width), mode="bilinear", align_corners=False)[0]
        for place in places:
            y, x = place - (row, column)
            if -0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5:
                if float(y).is_integer() and float(x).is_integer():
                    np.testing.assert_allclose(taken.features[number], drawn[:, int(y), int(x)], atol=1e-5)
                number += 1
    assert number == len(taken.features) >= 4


def test_the_map_is_that_of_the_linear_head(model_folder: Path, field: RGB, tmp_path: Path) -> None:
    told = scribble(model_folder, field, mpp=0.5, probabilities=True)
    assert set(np.unique(told.label_map.labels)) <= {1, 3}
    assert told.label_map.labels.shape == field.shape[:2]
    assert told.channels == (1, 3)
    head = load_head(save(model_folder, told, tmp_path / "head", source="skin", strokes={1: 2}))
    assert head.spec.provenance["strokes"] == {"1": 2}
    assert [one.name for one in head.spec.classes] == ["epidermis", "stroma"]
    assert (head.spec.mpp, head.spec.head.decoder, head.spec.provenance["source"]) == (0.5, "linear", "skin")
    probabilities = predict_windows(head, field)["probabilities"]
    np.testing.assert_allclose(told.probabilities / 255, probabilities, atol=0.003)
    drawn = np.array([1, 3])[probabilities.argmax(0)]
    assert (drawn == told.label_map.labels).mean() > 0.9995


@pytest.mark.parametrize("detail", [1, 2])
def test_prediction_with_the_saved_head_says_the_same(model_folder: Path, field: RGB, tmp_path: Path, detail: int) -> None:
    told = scribble(model_folder, field, mpp=0.4, detail=detail)
    assert told.head.mpp == pytest.approx(0.4 / detail)
    folder = save(model_folder, told, tmp_path / "head")
    segmented = handle(SegmentRequest(str(folder), field, mpp=0.4, measured=False, precision="fp32"))
    assert (segmented.label_map.labels == told.label_map.labels).mean() > 0.999


def test_the_blend_is_that_of_every_pixel_by_itself(model_folder: Path, field: RGB) -> None:
    tokens = encode_windows(load_encoder(model_folder), field)
    given = strokes()
    taken = sample(tokens, given["positions"], given["values"], given["strokes"])
    classify, head = classifier(taken, [1, 3], "linear")
    assert head is not None
    probabilities = blend(tokens, classify)
    assert probabilities.shape == (2, *field.shape[:2])
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    height, width = tokens.window
    for row, column in ((0, 0), (77, 100), (149, 209)):
        total, weights = np.zeros(2), 0.0
        for window, (top, left) in zip(tokens.tokens, tokens.corners, strict=True):
            if top <= row < top + height and left <= column < left + width:
                drawn = torch.nn.functional.interpolate(window[None], (height, width), mode="bilinear", align_corners=False)[0]
                logits = head.weight @ drawn[:, row - top, column - left].numpy() + head.bias
                weight = np.prod(
                    [np.sin(np.pi * (at + 0.5) / size) ** 2 + 1e-3 for at, size in ((row - top, height), (column - left, width))]
                )
                total += weight * np.exp(logits - np.logaddexp.reduce(logits))
                weights += weight
        np.testing.assert_allclose(probabilities[:, row, column], total / weights, atol=1e-4)


def test_strokes_elsewhere_still_count(model_folder: Path, field: RGB) -> None:
    """What was painted in one field is learned from in another, where only one class is painted."""
    first = scribble(model_folder, field)
    beside = np.ascontiguousarray(field[:, ::-1])
    alone = strokes()
    only = {name: array[alone["values"] == 1] for name, array in alone.items()}
    with pytest.raises(WorkerError, match="only one class is painted"):
        scribble(model_folder, beside, **only)
    told = scribble(model_folder, beside, **only, more=(first.samples,))
    assert told.channels == (1, 3)
    assert told.counts == {1: 4, 2: 0, 3: 2}
    assert told.few == (2,)


def test_a_warm_field_is_not_encoded_again(model_folder: Path, field: RGB) -> None:
    MODEL_CACHE.clear()
    assert not scribble(model_folder, field).cached
    assert scribble(model_folder, field, method="knn").cached
    MODEL_CACHE.clear()
    assert not scribble(model_folder, field).cached


def test_nearest_neighbours_answer_and_cannot_be_saved(model_folder: Path, field: RGB) -> None:
    told = scribble(model_folder, field, method="knn")
    assert told.head is None
    given = strokes()
    rows, columns = given["positions"].astype(int).T
    assert (told.label_map.labels[rows, columns] == given["values"]).mean() > 0.9


def test_a_full_folder_is_not_overwritten(model_folder: Path, field: RGB, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    told = scribble(model_folder, field)
    with pytest.raises(WorkerError, match="not empty"):
        save(model_folder, told, tmp_path)


def test_finer_detail_needs_the_scale(model_folder: Path, field: RGB) -> None:
    with pytest.raises(WorkerError, match="known scale"):
        scribble(model_folder, field, detail=2)


def test_the_fit_does_not_wait_for_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of some thousand rows run on one thread: with two, a stroke took ten times as long."""
    threads: list[int] = []

    def spying(*arguments: Any, **options: Any) -> Any:
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return minimize(*arguments, **options)

    monkeypatch.setattr(linear_head, "minimize", spying)
    features = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    linear_head.fit_linear_head(features, np.arange(40) % 2, 2)
    assert threads
    assert set(threads) == {1}
