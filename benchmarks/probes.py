"""What frozen features know that colour alone does not tell: nuclei, tissue classes from few labels, other stains.

Every probe is closed-form or convex, so it has no seed of its own but the draws of labels, which are the same for all encoders.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from napari_sdmae.data.batches.augment import jitter_stain

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

NUCLEI_MPP, MPP = 0.25, 0.5
"""µm per pixel of the nuclei images (40×), and that at which they are looked at."""
FIELD = 384
"""Edge of the field taken from the middle of each nuclei image, in px at `MPP`: whole windows of 64, 96 and 128 px."""
TILE = 128
"""Edge to which the tiles to classify are brought, in px."""
CELL, REGION = 2, 16
"""Edges in px of the cells whose nuclei are predicted (mIoU) and of the regions whose nuclear area is explained (R²)."""
STAIN = 0.4
"""Haematoxylin, eosin and residual of stain-perturbed test images are multiplied by 1 ± this."""
PENALTIES = (1e1, 1e2, 1e3, 1e4, 1e5)
SHOTS = {1: 40, 5: 20, 25: 10, 125: 4}
"""Labelled tiles per class, and how often they are drawn. Of 1,500 tiles in three classes 5, 25 and 125 are 1, 5 and 25 %."""
NEIGHBOURS = 20


@dataclass(frozen=True)
class Encoder:
    """Frozen features of windows.

    Attributes
    ----------
    tokens
        From RGB in [0, 1], (B, 3, window, window), to tokens in raster order, (B, L, D).
    window
        Edge of the square it sees, px.
    """

    tokens: Callable[[Tensor], Tensor]
    window: int


@dataclass(frozen=True)
class Nuclei:
    """Fields (N, 3, FIELD, FIELD) in [0, 1] of N slides and the nuclear fraction of their cells (N, FIELD / 2, FIELD / 2)."""

    images: Tensor
    cells: Array


@dataclass(frozen=True)
class Classes:
    """Tiles (N, 3, TILE, TILE) in [0, 1], their class, the patient or photograph they come from, and whether they train."""

    images: Tensor
    labels: Numbers
    groups: NDArray[np.str_]
    train: NDArray[np.bool_]


def read_nuclei(folder: Path) -> Nuclei:
    """Read ``images/`` and ``labels/`` (PNG, one number per nucleus), one image per slide."""
    images, cells, edge = [], [], round(FIELD * MPP / NUCLEI_MPP)
    for labels in sorted((folder / "labels").glob("*.png")):
        picture = Image.open(next((folder / "images").glob(f"{labels.stem}.*"))).convert("RGB")
        left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
        images.append(_pixels(picture.crop((left, top, left + edge, top + edge)), FIELD))
        nuclei = np.asarray(Image.open(labels))[top : top + edge, left : left + edge] > 0
        count, size = FIELD // CELL, edge * CELL // FIELD
        cells.append(nuclei.reshape(count, size, count, size).mean((1, 3)))
    return Nuclei(torch.stack(images), np.stack(cells))


def read_classes(folder: Path) -> Classes:
    """Read ``train.csv`` and ``validation.csv`` (file, label, group); the latter is the test, of other groups."""
    rows = [
        (row, part)
        for part in ("train", "validation")
        for row in csv.DictReader((folder / f"{part}.csv").read_text(encoding="utf-8").splitlines())
    ]
    names = sorted({row["label"] for row, _ in rows})
    train, groups = np.array([part == "train" for _, part in rows]), np.array([row["group"] for row, _ in rows])
    if shared := set(groups[train]) & set(groups[~train]):
        raise ValueError(f"{folder}: group {min(shared)} is in train.csv and validation.csv; a test needs groups never seen")
    images = torch.stack([_pixels(Image.open(folder / row["file"]).convert("RGB"), TILE) for row, _ in rows])
    return Classes(images, np.array([names.index(row["label"]) for row, _ in rows]), groups, train)


def _pixels(picture: Image.Image, size: int) -> Tensor:
    resized = picture.resize((size, size), Image.Resampling.BOX if picture.width % size == 0 else Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(resized).transpose(2, 0, 1) / np.float32(255))


def restained(images: Tensor, seed: int) -> Tensor:
    """Return `images` (N, 3, H, W) as other laboratories might have stained them, each differently."""
    strength = np.random.default_rng(seed).uniform(1 - STAIN, 1 + STAIN, (len(images), 3))
    return jitter_stain(images, strength)


@torch.no_grad()
def token_maps(encoder: Encoder, images: Tensor, at_once: int = 256) -> Tensor:
    """Return the tokens of `images` (N, 3, H, W), window by window, as maps (N, rows, columns, D)."""
    size = encoder.window
    rows, columns = images.shape[2] // size, images.shape[3] // size
    windows = images.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    tokens = torch.cat([encoder.tokens(part).float() for part in windows.split(at_once)])
    edge = round(tokens.shape[1] ** 0.5)
    maps = tokens.unflatten(1, (edge, edge)).unflatten(0, (len(images), rows, columns))
    return maps.permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2, 3)


def probe(encoder: Encoder, nuclei: Nuclei, classes: Classes) -> dict[str, float]:
    """Return all figures of one encoder; names that end in "stain" are of test images with another stain."""
    figures = {"rank": 0.0}
    maps = token_maps(encoder, nuclei.images)
    figures["rank"] = effective_rank(maps.flatten(0, 2))
    figures |= probe_nuclei(maps, token_maps(encoder, restained(nuclei.images, 1)), nuclei.cells)
    means = [token_maps(encoder, images).mean((1, 2)).numpy() for images in (classes.images, restained(classes.images, 2))]
    return figures | probe_classes(*means, classes)


def effective_rank(tokens: Tensor) -> float:
    """Return the exponential of the entropy of the singular values of centred `tokens` (N, D) (Roy and Vetterli 2007)."""
    values = torch.linalg.svdvals((tokens - tokens.mean(0))[:: max(1, len(tokens) // 4096)])
    return float(torch.special.entr(values / values.sum()).sum().exp())


def probe_nuclei(maps: Tensor, restained_maps: Tensor, cells: Array) -> dict[str, float]:
    """Predict the cells below each token by ridge regression; every slide is predicted by what the others taught."""
    slides, edge = len(maps), maps.shape[1]
    per_token = cells.shape[1] // edge
    wanted = cells.reshape(slides, edge, per_token, edge, per_token).transpose(0, 1, 3, 2, 4).reshape(slides, edge**2, -1)
    inputs = [values.flatten(1, 2).double().numpy() for values in (maps, restained_maps)]
    predicted, threshold = _leave_one_slide_out(*inputs, wanted)
    figures = {}
    for name, values in zip(("", " stain"), predicted, strict=True):
        shape = slides, edge, edge, per_token, per_token
        picture = values.reshape(shape).transpose(0, 1, 3, 2, 4).reshape(cells.shape)
        figures[f"nuclei mIoU{name}"] = float(np.mean([_mean_iou(*both) for both in zip(picture, cells, threshold, strict=True)]))
        figures[f"nuclei R2{name}"] = _explained(_regions(picture), _regions(cells))
    return figures


def _leave_one_slide_out(inputs: Array, restained_inputs: Array, wanted: Array) -> tuple[tuple[Array, Array], Array]:
    """Return predictions of both inputs (slides, tokens, cells) and each slide's threshold, chosen on the other slides."""
    mean, deviation = inputs.mean((0, 1)), inputs.std((0, 1)) + 1e-8
    plain, other = (_with_constant((values - mean) / deviation) for values in (inputs, restained_inputs))
    squares, products = np.einsum("nij,nik->njk", plain, plain), np.einsum("nij,nik->njk", plain, wanted)

    def fitted(slides: list[int], penalty: float) -> Array:
        ridge = penalty * np.eye(squares.shape[1])
        ridge[-1, -1] = 0
        weights: Array = np.linalg.solve(squares[slides].sum(0) + ridge, products[slides].sum(0))
        return weights

    predicted, threshold = (np.zeros_like(wanted), np.zeros_like(wanted)), np.zeros(len(wanted))
    for test in range(len(wanted)):
        others = [slide for slide in range(len(wanted)) if slide != test]
        folds = [others[first::4] for first in range(4)]
        errors = [
            sum(
                ((plain[fold] @ fitted([s for s in others if s not in fold], penalty) - wanted[fold]) ** 2).sum()
                for fold in folds
            )
            for penalty in PENALTIES
        ]
        weights = fitted(others, PENALTIES[int(np.argmin(errors))])
        threshold[test] = _best_threshold(plain[others] @ weights, wanted[others])
        for values, result in zip((plain, other), predicted, strict=True):
            result[test] = values[test] @ weights
    return predicted, threshold


def _with_constant(values: Array) -> Array:
    return np.concatenate([values, np.ones((*values.shape[:2], 1))], 2)


def _best_threshold(predicted: Array, wanted: Array) -> float:
    candidates = np.arange(0.25, 0.65, 0.05)
    return float(candidates[np.argmax([_mean_iou(predicted, wanted, value) for value in candidates])])


def _mean_iou(predicted: Array, wanted: Array, threshold: float) -> float:
    """Return the mean over nuclei and the rest of intersection over union."""
    ours, truth = predicted > threshold, wanted > 0.5
    both, neither = (ours & truth).sum(), (~ours & ~truth).sum()
    return float((both / (ours | truth).sum() + neither / (~ours | ~truth).sum()) / 2)


def _regions(cells: Array) -> Array:
    size = REGION // CELL
    count = cells.shape[1] // size
    means: Array = cells.reshape(len(cells), count, size, count, size).mean((2, 4))
    return means


def _explained(predicted: Array, wanted: Array) -> float:
    """Return R², the explained fraction of the variance over all slides."""
    return float(1 - ((predicted - wanted) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())


def probe_classes(features: NDArray[np.float32], other: NDArray[np.float32], classes: Classes) -> dict[str, float]:
    """Return balanced accuracies on test groups: logistic regression from few labels, and nearest neighbours from all."""
    train, labels = classes.train, classes.labels
    mean, deviation = features[train].mean(0), features[train].std(0) + 1e-6
    scaled, restained_test = (features - mean) / deviation, (other[~train] - mean) / deviation
    tests, figures = (scaled[~train], restained_test), {}
    for shots, draws in SHOTS.items():
        found = np.array([_few_labels(scaled[train], tests, classes, chosen) for chosen in few(classes, shots, draws)]).mean(0)
        figures |= {f"classes {shots}-shot": found[0], f"classes {shots}-shot stain": found[1]}
    for name, test in zip(("", " stain"), (features[~train], other[~train]), strict=True):
        figures[f"classes kNN{name}"] = _nearest(features[train] - mean, test - mean, labels[train], labels[~train])
    return {name: float(value) for name, value in figures.items()}


def few(classes: Classes, shots: int, draws: int) -> Iterator[Numbers]:
    """Yield indices into the training tiles: `shots` of each class, each of another group as long as there are."""
    labels, groups = classes.labels[classes.train], classes.groups[classes.train]
    for seed in range(draws):
        generator, chosen = np.random.default_rng(seed), []
        for label in np.unique(labels):
            tiles = generator.permutation(np.flatnonzero(labels == label))
            _, first = np.unique(groups[tiles], return_index=True)
            again = np.setdiff1d(np.arange(len(tiles)), first)
            chosen.append(tiles[np.concatenate([np.sort(first), again])][:shots])
        yield np.concatenate(chosen)


def _few_labels(train: Array, tests: tuple[Array, Array], classes: Classes, chosen: Numbers) -> list[float]:
    labels, truth = classes.labels[classes.train][chosen], classes.labels[~classes.train]
    predict = logistic_regression(train[chosen], labels, int(classes.labels.max()) + 1)
    return [balanced_accuracy(predict(test), truth) for test in tests]


def logistic_regression(inputs: Array, labels: Numbers, classes: int, penalty: float = 1e-2) -> Callable[[Array], Numbers]:
    """Fit to the optimum, with half of `penalty` times the squared weights."""
    given, wanted = torch.from_numpy(np.asarray(inputs, np.float64)), torch.from_numpy(labels)
    weight = torch.zeros(given.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(given @ weight + bias, wanted) + penalty / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    fitted, offset = weight.detach().numpy(), bias.detach().numpy()
    return lambda test: np.argmax(test @ fitted + offset, 1)


def _nearest(train: Array, test: Array, labels: Numbers, truth: Numbers) -> float:
    """Return the balanced accuracy of the vote of the nearest by cosine."""
    unit, asked = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (train, test))
    nearest = labels[np.argsort(-(asked @ unit.T), 1)[:, :NEIGHBOURS]]
    votes = np.stack([(nearest == label).sum(1) for label in range(int(labels.max()) + 1)], 1)
    return balanced_accuracy(votes.argmax(1), truth)


def balanced_accuracy(predicted: Numbers, truth: Numbers) -> float:
    """Return the mean over classes of the fraction found."""
    return float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))
