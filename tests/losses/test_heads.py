"""Losses of heads against slow NumPy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_sdmae.config.finetune import EncoderSpec, HeadConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.labels.label_map import IGNORE, make_classes
from napari_sdmae.losses.heads import OUTSIDE, HeadLoss, weighs_classes

Array = NDArray[np.float64]


def spec(task: str, classes: int = 3, **head: Any) -> HeadSpec:
    encoder = EncoderSpec(
        architecture="vit_tiny_patch16_224", arguments={}, mean=(0, 0, 0), std=(1, 1, 1), patch_size=16, tile_size=64
    )
    names = [f"class {n}" for n in range(classes)]
    return HeadSpec.model_validate(
        {"task": task, "classes": make_classes(names, 1), "head": HeadConfig(**head), "encoder": encoder, "tile_size": 64}
    )


def segmentation_case(ignored: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 7, generator=generator) * 2
    targets = torch.randint(0, 2, (2, 5, 7), generator=generator)  # class 2 never occurs
    targets[torch.rand(targets.shape, generator=generator) < ignored] = IGNORE
    return logits, targets


def labelled(logits: torch.Tensor, targets: torch.Tensor) -> tuple[Array, NDArray[np.int64]]:
    """Return probabilities (N, C) and classes (N,) of the labelled pixels."""
    values = np.moveaxis(logits.double().numpy(), 1, -1).reshape(-1, logits.shape[1])
    known = targets.numpy().ravel() >= 0
    powers = np.exp(values - values.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True))[known], targets.numpy().ravel()[known]


def slow_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: list[float] | None) -> float:
    shares, classes = labelled(logits, targets)
    each = [-(weights or [1, 1, 1])[c] * np.log(row[c]) for row, c in zip(shares, classes, strict=True)]
    return sum(each) / sum((weights or [1, 1, 1])[c] for c in classes)


def slow_dice(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean over all classes of 1 - 2 Σ min(p, t) / (Σ p + Σ t); a class that does not occur counts 0."""
    shares, classes = labelled(logits, targets)
    losses = []
    for c in range(shares.shape[1]):
        wanted = classes == c
        both = 2 * shares[wanted, c].sum()
        losses.append(1 - both / (shares[:, c].sum() + wanted.sum()) if wanted.any() else 0.0)
    return float(np.mean(losses))


def slow_focal(logits: torch.Tensor, targets: torch.Tensor, weights: list[float] | None) -> float:
    """Each class against all others: mean of (1 - p)² · -log p, p the probability of the truth by the logistic function."""
    losses = []
    known = targets.numpy() >= 0
    for c in range(logits.shape[1]):
        yes = 1 / (1 + np.exp(-logits[:, c].double().numpy()[known]))
        true = np.where(targets.numpy()[known] == c, yes, 1 - yes)
        losses.append(((1 - true) ** 2 * -np.log(true)).mean())
    return float(np.average(losses, weights=weights))


def slow_lovasz(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Lovász extension of the Jaccard loss (Berman et al. 2018), by its definition: errors times the gain of each."""
    shares, classes = labelled(logits, targets)
    losses = []
    for c in set(classes.tolist()):
        wanted = classes == c
        errors = np.abs(wanted - shares[:, c])
        before, loss = 0.0, 0.0
        wrong: set[int] = set()
        for pixel in np.argsort(-errors, kind="stable"):
            wrong.add(int(pixel))
            missed = sum(wanted[p] for p in wrong)
            jaccard = 1 - (wanted.sum() - missed) / (wanted.sum() + sum(not wanted[p] for p in wrong))
            loss += errors[pixel] * (jaccard - before)
            before = jaccard
        losses.append(loss)
    return float(np.mean(losses))


def slow_segmentation(kind: str, logits: torch.Tensor, targets: torch.Tensor, weights: list[float] | None) -> float:
    return {
        "cross_entropy": lambda: slow_cross_entropy(logits, targets, weights),
        "dice": lambda: slow_dice(logits, targets),
        "cross_entropy_dice": lambda: slow_cross_entropy(logits, targets, weights) + slow_dice(logits, targets),
        "focal": lambda: slow_focal(logits, targets, weights),
        "lovasz": lambda: slow_lovasz(logits, targets),
    }[kind]()


KINDS = ["cross_entropy", "dice", "cross_entropy_dice", "focal", "lovasz"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 0.5]])
def test_segmentation_equals_a_slow_oracle(kind: str, weights: list[float] | None) -> None:
    logits, targets = segmentation_case()
    loss = HeadLoss(spec("segmentation", loss=kind), weights, 0.0)(SimpleNamespace(logits=logits, auxiliary=None), targets)
    assert loss.total.item() == pytest.approx(slow_segmentation(kind, logits, targets, weights), rel=1e-5)
    assert sum(part.item() for part in loss.parts.values()) == pytest.approx(loss.total.item())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_change_what_is_said_to_weigh_classes(kind: str) -> None:
    logits, targets = segmentation_case()
    output, chosen = SimpleNamespace(logits=logits, auxiliary=None), spec("segmentation", loss=kind)
    plain, weighted = (HeadLoss(chosen, weights)(output, targets).total.item() for weights in (None, [1.0, 3.0, 0.5]))
    assert (plain != weighted) == weighs_classes(chosen)


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_without_a_label_give_no_gradient(kind: str) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    targets = torch.full((1, 4, 4), IGNORE)
    loss = HeadLoss(spec("segmentation", loss=kind), [1.0, 2.0, 3.0])(SimpleNamespace(logits=logits, auxiliary=logits), targets)
    assert loss.total.item() == 0
    loss.total.backward()
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_ignored_pixels_give_no_gradient(kind: str) -> None:
    logits, targets = segmentation_case()
    logits.requires_grad_()
    HeadLoss(spec("segmentation", loss=kind))(SimpleNamespace(logits=logits, auxiliary=None), targets).total.backward()
    assert logits.grad is not None
    given = logits.grad.abs().sum(1)
    assert (given[targets == IGNORE] == 0).all()
    assert (given[targets != IGNORE] > 0).any()


def test_the_auxiliary_head_counts_with_its_weight() -> None:
    logits, targets = segmentation_case()
    output = SimpleNamespace(logits=logits, auxiliary=logits.flip(1))
    loss = HeadLoss(spec("segmentation", auxiliary=0.3))(output, targets)
    wanted = slow_segmentation("cross_entropy_dice", logits.flip(1), targets, None)
    assert loss.parts["auxiliary"].item() == pytest.approx(0.3 * wanted, rel=1e-5)
    assert loss.total.item() == pytest.approx(
        slow_segmentation("cross_entropy_dice", logits, targets, None) + 0.3 * wanted, rel=1e-5
    )


def instance_case() -> tuple[SimpleNamespace, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(2, 5, 6, 6, generator=generator)
    inside = (torch.rand(2, 1, 6, 6, generator=generator) < 0.4).float()
    separation = torch.rand(2, 1, 6, 6, generator=generator) * inside
    types = torch.where(inside[:, 0] > 0, torch.randint(0, 3, (2, 6, 6), generator=generator), IGNORE)
    output = SimpleNamespace(foreground=maps[:, :1], separation=maps[:, 1:2], types=maps[:, 2:], auxiliary=maps.flip(0))
    return output, {"foreground": inside, "separation": separation, "types": types}


def slow_instances(maps: torch.Tensor, targets: dict[str, torch.Tensor], how: str) -> dict[str, float]:
    yes = 1 / (1 + np.exp(-maps.double().numpy()))
    inside, wanted = (targets[name].double().numpy()[:, 0] for name in ("foreground", "separation"))
    shown, apart = yes[:, 0], yes[:, 1]
    entropy = -(inside * np.log(shown) + (1 - inside) * np.log(1 - shown)).mean()
    dice = 1 - (2 * (shown * inside).sum() + 1) / (shown.sum() + inside.sum() + 1)
    off = np.abs(apart - wanted)
    smooth = np.where(off < 0.1, off**2 / 0.2, off - 0.05)
    each = smooth if how == "distance" else -(wanted * np.log(apart) + (1 - wanted) * np.log(1 - apart))
    weight = np.where(inside > 0, 1, OUTSIDE)
    types = slow_cross_entropy(maps[:, 2:], targets["types"], [2.0, 1.0, 0.5])
    return {"foreground": entropy + dice, "separation": (weight * each).sum() / weight.sum(), "types": types}


@pytest.mark.parametrize("how", ["distance", "boundary"])
def test_instances_equal_a_slow_oracle(how: str) -> None:
    output, targets = instance_case()
    loss = HeadLoss(spec("instances", separation=how, auxiliary=0.4), [2.0, 1.0, 0.5])(output, targets)
    maps = torch.cat([output.foreground, output.separation, output.types], 1)
    wanted = slow_instances(maps, targets, how)
    wanted["auxiliary"] = 0.4 * sum(slow_instances(output.auxiliary, targets, how).values())
    assert {name: part.item() for name, part in loss.parts.items()} == pytest.approx(wanted, rel=1e-4)
    assert loss.total.item() == pytest.approx(sum(wanted.values()), rel=1e-5)


@pytest.mark.parametrize("how", ["distance", "boundary"])
def test_instances_are_learned_only_where_they_are_known(how: str) -> None:
    """Half of each tile is unknown: the loss is that of the other half alone, whatever is predicted and drawn there."""
    output, targets = instance_case()
    loss = HeadLoss(spec("instances", separation=how, auxiliary=0.4), [2.0, 1.0, 0.5])
    halves = SimpleNamespace(**{name: maps[..., :3].requires_grad_() for name, maps in vars(output).items()})
    wanted = loss(halves, {name: target[..., :3] for name, target in targets.items()})
    partly = {name: target.clone() for name, target in targets.items()}
    partly["foreground"][..., 3:] = partly["types"][..., 3:] = IGNORE
    whole = SimpleNamespace(**{name: maps.clone().requires_grad_() for name, maps in vars(output).items()})
    found = loss(whole, partly)
    assert found.total.item() == pytest.approx(wanted.total.item(), rel=1e-5)
    found.total.backward()
    assert all((maps.grad[..., 3:] == 0).all() and (maps.grad[..., :3] != 0).any() for maps in vars(whole).values())


def test_nothing_is_learned_where_nothing_is_known() -> None:
    output, targets = instance_case()
    targets["foreground"][:], targets["types"][:] = IGNORE, IGNORE
    output.foreground.requires_grad_()
    loss = HeadLoss(spec("instances"))(output, targets)
    loss.total.backward()
    assert loss.total.isfinite()
    assert (output.foreground.grad == 0).all()


def test_instances_of_one_type_and_empty_tiles() -> None:
    output, targets = instance_case()
    output.types = output.auxiliary = None
    targets = {name: torch.zeros_like(targets[name]) for name in ("foreground", "separation")}
    loss = HeadLoss(spec("instances", 1))(output, targets)
    assert sorted(loss.parts) == ["foreground", "separation"]
    assert loss.total.isfinite()


@pytest.mark.parametrize("soft", [False, True])
def test_classification_equals_a_slow_oracle(soft: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 3, generator=generator)
    indices = torch.randint(0, 3, (6,), generator=generator)
    targets = torch.rand(6, 3, generator=generator).softmax(1) if soft else indices
    weights, smoothing = np.array([1.0, 2.0, 0.5]), 0.1
    logs = np.log(labelled(logits[..., None, None], indices[:, None, None])[0])
    wanted = targets.double().numpy() if soft else np.eye(3)[indices.numpy()]
    wanted = (1 - smoothing) * wanted + smoothing / 3
    each = -(wanted * weights * logs).sum(1)
    mean = each.mean() if soft else each.sum() / weights[indices.numpy()].sum()
    loss = HeadLoss(spec("classification"), weights.tolist(), smoothing)(logits, targets)
    assert loss.total.item() == pytest.approx(mean, rel=1e-5)


def test_detection_is_the_sum_of_the_models_losses() -> None:
    given = {"loss_classifier": torch.tensor(0.5, requires_grad=True), "loss_box_reg": torch.tensor(0.25)}
    loss = HeadLoss(spec("detection"))(given, None)
    assert loss.total.item() == 0.75
    assert not loss.parts["loss_classifier"].requires_grad
    loss.total.backward()


def test_half_precision_is_summed_in_full() -> None:
    logits, targets = segmentation_case()
    loss = HeadLoss(spec("segmentation"))(SimpleNamespace(logits=logits.bfloat16(), auxiliary=None), targets)
    assert loss.total.dtype == torch.float32


def test_weights_must_fit_the_classes() -> None:
    with pytest.raises(ValueError, match="got 2 class weights; expected one for each of the 3 classes"):
        HeadLoss(spec("segmentation"), [1.0, 2.0])
