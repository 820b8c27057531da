"""Windows over images of any size."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny_heads import tiny_head

from napari_sdmae.models.heads.head_model import HeadModel, InstanceOutput, SegmentationOutput
from napari_sdmae.models.heads.sliding_window import predict_windows, ramp, starts

RGB = NDArray[np.uint8]


@pytest.fixture(scope="module")
def field(tissue: Path) -> RGB:
    file = sorted((tissue / "tiles").rglob("*.jpg"))[0]
    return np.asarray(Image.open(file).convert("RGB"))[:150, :210]


@pytest.mark.parametrize("shape", [(64, 64), (48, 32), (64, 16)])
def test_one_window_is_one_forward_pass(shape: tuple[int, int], field: RGB) -> None:
    model = tiny_head("segmentation")
    image = field[: shape[0], : shape[1]]
    with torch.inference_mode():
        wanted = model(model.normalise(torch.from_numpy(image.copy())[None])).logits[0].softmax(0)
    found = predict_windows(model, image)["probabilities"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(150, 210), (16, 210), (70, 65), (33, 47)])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.6])
def test_a_constant_prediction_has_no_seams(
    shape: tuple[int, int], overlap: float, field: RGB, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_head("segmentation")
    logits = torch.tensor([1.0, -0.5, 0.25]).view(1, 3, 1, 1)
    monkeypatch.setattr(
        model, "forward", lambda images: SegmentationOutput(logits.expand(len(images), -1, *images.shape[2:]), None)
    )
    found = predict_windows(model, field[: shape[0], : shape[1]], overlap=overlap, batch=3)["probabilities"]
    assert found.shape == (3, *shape)
    np.testing.assert_allclose(found, logits.softmax(1)[0].expand(-1, *shape), rtol=1e-5)


def test_every_value_stays_in_its_place(field: RGB, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that answers with the pixel itself gives the picture back."""
    model = tiny_head("instances", 1)
    monkeypatch.setattr(model, "forward", _echo(model))
    found = predict_windows(model, field)
    np.testing.assert_allclose(found["foreground"], field[..., 0] / 255, atol=1e-4)
    np.testing.assert_allclose(found["separation"], field[..., 1] / 255, atol=1e-4)
    assert "types" not in found


def _echo(model: HeadModel):
    def forward(images: torch.Tensor) -> InstanceOutput:
        pixels = (images * model.std + model.mean).clamp(1e-6, 1 - 1e-6).logit()
        return InstanceOutput(pixels[:, :1], pixels[:, 1:2], None, None)

    return forward


def test_blending_equals_a_slow_oracle(field: RGB) -> None:
    model, image = tiny_head("segmentation"), field[:100, :130]
    found = predict_windows(model, image, overlap=0.25)["probabilities"]
    weight = np.outer(ramp(64), ramp(64)).astype(float)
    sums, total = np.zeros((3, 100, 130)), np.zeros((100, 130))
    for row in (0, 36):
        for column in (0, 33, 66):
            crop = image[row : row + 64, column : column + 64]
            with torch.inference_mode():
                values = model(model.normalise(torch.from_numpy(crop.copy())[None])).logits[0].softmax(0)
            sums[:, row : row + 64, column : column + 64] += values.numpy() * weight
            total[row : row + 64, column : column + 64] += weight
    np.testing.assert_allclose(found, sums / total, rtol=1e-4, atol=1e-6)


def test_windows_can_be_placed_but_must_cover(field: RGB) -> None:
    model, image = tiny_head("segmentation"), field[:100, :130]
    usual = predict_windows(model, image)["probabilities"]
    placed = predict_windows(model, image, places=([0, 36], [0, 33, 66]))["probabilities"]
    assert np.array_equal(usual, placed)
    with pytest.raises(ValueError, match=r"windows of 64 x 64 px at .* do not cover 100 x 130 px"):
        predict_windows(model, image, places=([0, 36], [0, 66]))


def test_memory_is_that_of_the_answer_and_one_batch(field: RGB, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays at their highest: the answer, the picture of the windows of one batch, and their values."""
    model, image = tiny_head("segmentation"), np.tile(field, (6, 6, 1))
    logits = torch.tensor([1.0, -0.5, 0.25]).view(1, 3, 1, 1)
    monkeypatch.setattr(
        model, "forward", lambda images: SegmentationOutput(logits.expand(len(images), -1, *images.shape[2:]), None)
    )
    tracemalloc.start()
    answer = predict_windows(model, image, batch=2)["probabilities"]
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < 1.1 * answer.nbytes


def test_instances_with_types_and_progress_and_mode(field: RGB) -> None:
    model, told = tiny_head("instances", 3).train(), []
    found = predict_windows(model, field, batch=4, progress=lambda done, all_: told.append((done, all_)))
    assert {name: maps.shape for name, maps in found.items()} == {
        "foreground": (150, 210), "separation": (150, 210), "types": (3, 150, 210),
    }  # fmt: skip
    np.testing.assert_allclose(found["types"].sum(0), 1, atol=1e-5)
    assert told == [(4, 15), (8, 15), (12, 15), (15, 15)]
    assert model.training


def test_half_precision_is_close(field: RGB) -> None:
    model = tiny_head("segmentation")
    full = predict_windows(model, field)["probabilities"]
    half = predict_windows(model, field, autocast=torch.autocast("cpu", torch.bfloat16))["probabilities"]
    assert 0 < np.abs(full - half).max() < 0.05


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [64, 65, 100, 128, 1000])
def test_windows_cover_and_share_enough(length: int, overlap: float) -> None:
    places = starts(length, 64, overlap)
    assert places[0] == 0
    assert places[-1] == length - 64
    assert all(0 < after - before <= 64 * (1 - overlap) + 1 for before, after in pairwise(places))
    assert not overlap or len(places) <= length / (64 * (1 - overlap)) + 2


def test_what_does_not_fit_is_refused(field: RGB) -> None:
    model = tiny_head("segmentation")
    with pytest.raises(ValueError, match="15 x 210 px, less than one patch of 16 px"):
        predict_windows(model, field[:15])
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        predict_windows(model, field / 255)
    with pytest.raises(ValueError, match="expected an overlap of 0 to below 1"):
        predict_windows(model, field, overlap=1)
    with pytest.raises(ValueError, match="a classification head has no map of pixels"):
        predict_windows(tiny_head("classification"), field)


def test_mirrored_views_are_averaged(field: RGB) -> None:
    """A mirrored picture then gets the mirrored answer, whatever the head has learned."""
    model = tiny_head("segmentation")
    image, mirrored = field[:64, :96], field[:64, :96][:, ::-1].copy()
    plain = [predict_windows(model, one, window=96)["probabilities"] for one in (image, mirrored)]
    assert np.abs(plain[1][..., ::-1] - plain[0]).max() > 1e-3
    averaged = [predict_windows(model, one, window=96, flips=True)["probabilities"] for one in (image, mirrored)]
    np.testing.assert_allclose(averaged[1][..., ::-1], averaged[0], atol=1e-6)
    np.testing.assert_allclose(averaged[0].sum(0), 1, atol=1e-5)
    by_hand = []
    for axes in ((), (0,), (1,), (0, 1)):
        turned = predict_windows(model, np.ascontiguousarray(np.flip(image, axes)), window=96)["probabilities"]
        by_hand.append(np.flip(turned, [axis + 1 for axis in axes]))
    np.testing.assert_allclose(averaged[0], np.mean(by_hand, 0), atol=1e-6)
