"""Every part of the loss against plain NumPy loops, and what its measures say about a collapse."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from napari_sdmae.config.pretrain import LossConfig
from napari_sdmae.losses.collapse import collapse_warning
from napari_sdmae.losses.sdmae import SDMAELoss, distillation_weight, teacher_temperature
from napari_sdmae.losses.sinkhorn import sinkhorn

Array = NDArray[np.float64]
NOW = {"p_start_epoch": 0.0, "p_ramp_epochs": 0.0}
CODES = {"p": 0.2, "distance": "cross_entropy", "target": "image", "teacher_gradient": False, **NOW}


class Output(NamedTuple):
    reconstruction: Tensor
    student: Tensor | None
    teacher: Tensor | None


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


IMAGES, MASK = random(4, 3, 8, 8), random(4, 4, seed=1).argsort(1) < 2
PIXELS = random(4, 2, 48, seed=2)
LOGITS = random(4, 10, seed=3) / 4, random(4, 10, seed=4) / 4
TOKENS = random(4, 2, 10, seed=5) / 4, random(4, 2, 10, seed=6) / 4


def losses(config: LossConfig, student: Tensor | None, teacher: Tensor | None, epoch: float = 0) -> Any:
    return SDMAELoss(config, 10)(Output(PIXELS, student, teacher), IMAGES, MASK, epoch)


def plain_softmax(logits: Array) -> Array:
    return np.stack([np.exp(row) / np.exp(row).sum() for row in logits])


def plain_cross_entropy(student: Tensor, targets: Array) -> float:
    predicted = np.log(plain_softmax(student.double().numpy().reshape(-1, 10) / 0.1))
    return float(-np.mean([(target * row).sum() for target, row in zip(targets, predicted, strict=True)]))


def plain_sinkhorn(logits: Array) -> Array:
    """Rows to probabilities; then three times: each code as often as the others, each row a probability."""
    matrix = plain_softmax(logits)
    for _ in range(3):
        matrix = matrix / matrix.sum(0)
        matrix = matrix / matrix.sum(1)[:, None]
    return matrix


TARGETS: dict[str, Callable[[Array], Array]] = {"none": plain_softmax, "probability": plain_softmax, "sinkhorn": plain_sinkhorn}


@pytest.mark.parametrize("centring", TARGETS)
@pytest.mark.parametrize("target", ["image", "token"])
def test_cross_entropy(centring: str, target: str) -> None:
    student, teacher = LOGITS if target == "image" else TOKENS
    config = LossConfig(**CODES | {"centring": centring, "target": target})
    targets = TARGETS[centring](teacher.double().numpy().reshape(-1, 10) / 0.04)
    result = losses(config, student, teacher)
    expected = plain_cross_entropy(student, targets)
    assert result.distillation.item() == pytest.approx(expected, rel=1e-5)
    assert result.total.item() == pytest.approx(0.2 * expected + 0.8 * result.reconstruction.item(), rel=1e-6)
    assert_measures(result.diagnostics, targets, expected)


def assert_measures(diagnostics: dict[str, Tensor], targets: Array, cross_entropy: float) -> None:
    entropy = -np.mean([sum(q * math.log(q) for q in row if q > 0) for row in targets])
    mean = targets.mean(0)
    information = -sum(q * math.log(q) for q in mean if q > 0) - entropy
    ours = {name: value.item() for name, value in diagnostics.items()}
    codes = len({int(row.argmax()) for row in targets})
    assert ours == {
        "p": pytest.approx(0.2),
        "cross_entropy": pytest.approx(cross_entropy, rel=1e-5),
        "teacher_entropy": pytest.approx(entropy, rel=1e-4),
        "mutual_information": pytest.approx(information, rel=1e-4),
        "codes_in_use": codes,
    }


def test_sinkhorn_uses_every_code_equally_often_at_any_temperature() -> None:
    for scale in (1.0, 1e4):
        balanced = sinkhorn(scale * random(64, 8), iterations=200 if scale == 1 else 3).exp()
        assert torch.isfinite(balanced).all()
        torch.testing.assert_close(balanced.sum(1), torch.ones(64))
        if scale == 1:
            torch.testing.assert_close(balanced.sum(0), torch.full((8,), 8.0), rtol=1e-3, atol=0)


def test_reconstruction_alone_is_mae() -> None:
    result = losses(LossConfig(p=0, target_normalisation="none"), None, None)
    pixels = IMAGES.numpy() * np.array([0.229, 0.224, 0.225])[:, None, None] + np.array([0.485, 0.456, 0.406])[:, None, None]
    errors = []
    for image, mask, predicted in zip(pixels, MASK, PIXELS.numpy(), strict=True):
        for row, index in zip(predicted, mask.nonzero()[:, 0].tolist(), strict=True):
            patch = image[:, index // 2 * 4 : index // 2 * 4 + 4, index % 2 * 4 : index % 2 * 4 + 4]
            errors.append((row - patch.transpose(1, 2, 0).ravel()) ** 2)
    assert result.total.item() == pytest.approx(np.mean(errors), rel=1e-6)
    assert result.distillation.item() == 0
    assert result.diagnostics == {"p": torch.tensor(0.0)}


def test_missing_heads_are_an_error_once_p_is_above_zero() -> None:
    config = LossConfig(p=0.2, p_start_epoch=2, p_ramp_epochs=1)
    assert losses(config, None, None, epoch=2.0).diagnostics["p"] == 0
    with pytest.raises(ValueError, match=r"p is 0\.1 at epoch 2\.5 but the model was called with heads=False"):
        losses(config, None, None, epoch=2.5)


@pytest.mark.parametrize("distance", ["smooth_l1", "cosine"])
def test_regression_of_normalised_decoder_tokens(distance: str) -> None:
    student, teacher = TOKENS
    result = losses(LossConfig(distance=distance, target="token", **NOW), student, teacher)
    values = []
    for ours, theirs in zip(student.double().numpy().reshape(-1, 10), teacher.double().numpy().reshape(-1, 10), strict=True):
        target = (theirs - theirs.mean()) / np.sqrt(theirs.var() + 1e-5)
        gap = np.abs(ours - target)
        if distance == "smooth_l1":
            values.append(np.where(gap < 1, 0.5 * gap**2, gap - 0.5).mean())
        else:
            values.append(1 - ours @ target / np.linalg.norm(ours) / np.linalg.norm(target))
    assert result.distillation.item() == pytest.approx(np.mean(values), rel=1e-5)
    assert result.diagnostics["feature_spread"].item() == pytest.approx(student.reshape(-1, 10).std(0).mean().item(), rel=1e-5)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True)


def plain_contrast(student: Array, teacher: Array) -> tuple[float, float]:
    """Return InfoNCE over the two views of each tile, both ways, and how often a student finds the teacher of its tile."""
    count, terms, found = len(student) // 2, [], []
    for view in (0, 1):
        for tile in range(count):
            others = range((1 - view) * count, (1 - view) * count + count)
            asked = [student[view * count + tile] @ teacher[other] / 0.1 for other in others]
            terms.append(-math.log(math.exp(asked[tile]) / sum(math.exp(value) for value in asked)))
            found.append(int(np.argmax(asked)) == tile)
            meant = [student[view * count + other] @ teacher[(1 - view) * count + tile] / 0.1 for other in range(count)]
            terms.append(-math.log(math.exp(meant[tile]) / sum(math.exp(value) for value in meant)))
    return float(np.mean(terms)), float(np.mean(found))


@pytest.mark.parametrize("target", ["image", "token", "both"])
def test_contrast_of_two_views(target: str) -> None:
    """Three tiles, rows 0-2 their first views, rows 3-5 their second ones; of each the whole and two patches."""
    student, teacher = unit(random(6, 3, 10, seed=7)), unit(random(6, 3, 10, seed=8))
    pixels, images, mask = PIXELS[[0, 1, 2, 3, 0, 1]], IMAGES[[0, 1, 2, 3, 0, 1]], MASK[[0, 1, 2, 3, 0, 1]]
    result = SDMAELoss(LossConfig(p=0.4, target=target, **NOW), 10)(Output(pixels, student, teacher), images, mask, 0)
    measures = {name: value.item() for name, value in result.diagnostics.items()}
    assert measures.pop("p") == pytest.approx(0.4)
    tile, patches = slice(0, 1), slice(1, 3)
    parts, losses = {"image": {"": tile}, "token": {"": patches}, "both": {"": tile, "patch_": patches}}[target], []
    for name, rows in parts.items():
        ours, theirs = (values[:, rows].double().flatten(0, 1).numpy() for values in (student, teacher))
        expected, found = plain_contrast(ours, theirs)
        losses.append(expected)
        assert measures.pop(f"{name}mutual_information") == pytest.approx(math.log(len(ours) / 2) - expected, rel=1e-4, abs=1e-5)
        assert measures.pop(f"{name}recognised") == pytest.approx(found)
        assert measures.pop(f"{name}feature_spread") == pytest.approx(np.sqrt((theirs.std(0) ** 2).sum()), rel=1e-5)
    assert not measures
    assert result.distillation.item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert result.total.item() == pytest.approx(0.4 * np.mean(losses) + 0.6 * result.reconstruction.item(), rel=1e-6)


@pytest.mark.parametrize(("target", "guessing"), [("image", math.log(3)), ("token", math.log(6))])
def test_one_answer_for_all_is_the_worst_that_the_contrast_knows(target: str, guessing: float) -> None:
    same = unit(torch.ones(6, 3, 10))
    pixels, images, mask = PIXELS[[0, 1, 2, 3, 0, 1]], IMAGES[[0, 1, 2, 3, 0, 1]], MASK[[0, 1, 2, 3, 0, 1]]
    result = SDMAELoss(LossConfig(target=target, **NOW), 10)(Output(pixels, same, same), images, mask, 0)
    assert result.distillation.item() == pytest.approx(guessing)
    assert "has collapsed" in str(collapse_warning({name: value.item() for name, value in result.diagnostics.items()}))


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"centring": name} for name in TARGETS]
    + [{"distance": "smooth_l1", "target": "token"}, {"distance": "contrast", "target": "token"}],
)
def test_the_teacher_gets_a_gradient_only_when_asked(through: bool, options: dict[str, Any]) -> None:
    pair = TOKENS if options.get("target") == "token" else LOGITS
    student, teacher = (logits.clone().requires_grad_() for logits in pair)
    losses(LossConfig(**CODES | {"teacher_gradient": through} | options), student, teacher).total.backward()
    assert student.grad is not None
    assert student.grad.abs().max() > 0
    assert (teacher.grad is not None and bool(teacher.grad.abs().max() > 0)) == through


def test_outputs_for_another_target_are_refused() -> None:
    with pytest.raises(ValueError, match="call the model with per_token=True"):
        losses(LossConfig(**CODES | {"target": "token"}), *LOGITS)
    with pytest.raises(ValueError, match="call the model with per_token=False"):
        losses(LossConfig(**CODES), *TOKENS)
    with pytest.raises(ValueError, match="call the model with per_token=True and use the head embedding"):
        losses(LossConfig(**NOW), *LOGITS)
    with pytest.raises(ValueError, match="compares two views of each tile, got 3 rows"):
        losses(LossConfig(**NOW), TOKENS[0][:3], TOKENS[1][:3])


def test_centre_follows_the_mean_probability_and_is_used_from_the_next_step() -> None:
    loss, (student, teacher) = SDMAELoss(LossConfig.paper(), 10), LOGITS
    centre = np.zeros(10)
    for step in range(3):
        probabilities = plain_softmax((teacher.double().numpy() - centre) / 0.04)
        result = loss(Output(PIXELS, student, teacher), IMAGES, MASK, step)
        assert result.distillation.item() == pytest.approx(plain_cross_entropy(student, probabilities), rel=1e-5)
        centre = 0.9 * centre + 0.1 * probabilities.mean(0)
        np.testing.assert_allclose(loss.centre[0], centre, rtol=1e-5, atol=1e-7)


def test_parts_of_an_accumulated_batch_move_the_centre_as_the_whole_would() -> None:
    whole, parts, (student, teacher) = SDMAELoss(LossConfig.paper(), 10), SDMAELoss(LossConfig.paper(), 10), LOGITS
    for _ in range(2):
        whole(Output(PIXELS, student, teacher), IMAGES, MASK, 0)
        for rows, last in ((slice(0, 3), False), (slice(3, 4), True)):
            parts(Output(PIXELS[rows], student[rows], teacher[rows]), IMAGES[rows], MASK[rows], 0, update_centre=last)
        torch.testing.assert_close(parts.centre, whole.centre)
    assert set(whole.state_dict()) == {"centre"}


def test_weight_and_temperature_over_the_epochs() -> None:
    ramp = LossConfig(p=0.4, p_start_epoch=2, p_ramp_epochs=4)
    weights = [distillation_weight(ramp, epoch) for epoch in (0, 1.9, 2, 3, 4.5, 6, 100)]
    assert weights == pytest.approx([0, 0, 0, 0.1, 0.25, 0.4, 0.4])
    assert distillation_weight(LossConfig(p=0.4, p_start_epoch=2, p_ramp_epochs=0), 2) == 0.4
    warm = LossConfig(warmup_teacher_temperature=0.04, teacher_temperature=0.07, warmup_teacher_epochs=4)
    temperatures = [teacher_temperature(warm, epoch) for epoch in (0, 1.7, 2, 3, 4, 9)]
    assert temperatures == pytest.approx([0.04, 0.05, 0.06, 0.07, 0.07, 0.07])
    single = LossConfig(warmup_teacher_temperature=0.02, teacher_temperature=0.07, warmup_teacher_epochs=1)
    assert [teacher_temperature(single, epoch) for epoch in (0, 1)] == [0.02, 0.07]


def test_the_published_loss_collapses_and_the_measures_say_so() -> None:
    """Both heads free to move, no image in sight: they agree on one code, and the warning comes."""
    student, teacher = (torch.nn.Parameter(0.05 * random(32, 10, seed=seed)) for seed in (0, 1))
    shared = torch.nn.Parameter(torch.zeros(2, 10))
    optimizer = torch.optim.Adam([shared], lr=0.05)
    loss, seen = SDMAELoss(LossConfig.paper(p=1), 10), []
    pixels, images, mask = (value.repeat(8, *[1] * (value.ndim - 1)) for value in (PIXELS, IMAGES, MASK))
    for step in range(100):
        result = loss(Output(pixels, student.detach() + shared[0], teacher.detach() + shared[1]), images, mask, step)
        optimizer.zero_grad()
        result.total.backward()
        optimizer.step()
        seen.append(collapse_warning({name: value.item() for name, value in result.diagnostics.items()}))
    assert seen[0] is None
    assert seen[-1] is not None
    assert "one code for every image" in seen[-1]


@pytest.mark.parametrize(
    ("metrics", "warns"),
    [
        ({"p": 0.2, "cross_entropy": 0.001, "teacher_entropy": 0.0005, "mutual_information": 0.0001, "codes_in_use": 1}, True),
        ({"p": 0.2, "cross_entropy": 8.31, "teacher_entropy": 8.3, "mutual_information": 0.001, "codes_in_use": 3}, True),
        ({"p": 0.2, "cross_entropy": 0.02, "teacher_entropy": 0.01, "mutual_information": 3.2, "codes_in_use": 40}, False),
        ({"p": 0.2, "cross_entropy": 8.1, "teacher_entropy": 6.9, "mutual_information": 0.01, "codes_in_use": 2}, False),
        ({"p": 0.0, "cross_entropy": 0.001, "teacher_entropy": 0.0005, "mutual_information": 0.0001, "codes_in_use": 1}, False),
        ({"p": 0.0}, False),
        ({"p": 0.2, "feature_spread": 0.001}, True),
        ({"p": 0.2, "feature_spread": 0.4}, False),
        ({"p": 0.2, "mutual_information": 0.01, "recognised": 0.01, "feature_spread": 0.9, "patch_feature_spread": 0.9}, False),
        ({"p": 0.2, "mutual_information": 1.2, "recognised": 0.4, "feature_spread": 0.9, "patch_feature_spread": 0.005}, True),
    ],
)
def test_collapse_warning(metrics: dict[str, float], warns: bool) -> None:
    assert (collapse_warning(metrics) is not None) == warns


def test_two_ranks_compute_what_one_does_with_the_doubled_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_rank, (tmp_path,), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, config in RANKED.items():
        whole = two_steps(config, [0, 1, 2, 3])
        parts = [rank[name] for rank in ranks]
        assert np.mean([part["total"].item() for part in parts]) == pytest.approx(whole["total"].item(), rel=1e-6)
        for part in parts:
            torch.testing.assert_close(part["centre"], whole["centre"])
        gradient = torch.stack([part["gradient"] for part in parts]).mean(0)  # DistributedDataParallel takes the mean over ranks
        torch.testing.assert_close(gradient, whole["gradient"], rtol=1e-4, atol=1e-7)


RANKED = {
    "probability": LossConfig.paper(),
    "sinkhorn": LossConfig.paper(centring="sinkhorn"),
    "contrast": LossConfig(p=0.2, **NOW),
}
"""Rows 0 and 2 are crops of one tile, 1 and 3 of another; each rank has one tile."""


def two_steps(config: LossConfig, rows: list[int]) -> dict[str, Tensor]:
    loss = SDMAELoss(config, 10)
    students, teachers = (unit(values).requires_grad_() for values in (TOKENS if config.views == 2 else LOGITS))
    student, teacher = students[rows], teachers[rows]
    for _ in range(2):
        total = loss(Output(PIXELS[rows], student, teacher), IMAGES[rows], MASK[rows], 0).total
    total.backward()
    assert students.grad is not None
    assert teachers.grad is not None
    return {"total": total.detach(), "centre": loss.centre, "gradient": torch.stack([students.grad, teachers.grad])}


def one_rank(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save({name: two_steps(config, [rank, rank + 2]) for name, config in RANKED.items()}, folder / f"{rank}.pt")
    dist.destroy_process_group()
