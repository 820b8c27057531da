"""Heads that say what a whole tile shows: mean of the tokens, linear probe, nearest neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sdmae.config.finetune import VOTE_TEMPERATURE, HeadConfig


def classification_head(width: int, classes: int, config: HeadConfig) -> nn.Module:
    """Return the head that turns pooled tokens (B, `width`) into logits (B, `classes`)."""
    if config.classifier == "knn":
        return NearestNeighbours(width, classes, config.neighbours)
    mean = config.classifier == "mean"
    norm = nn.LayerNorm(width, eps=1e-6) if mean else ProbeNorm(width, affine=False, eps=1e-6)
    linear = nn.Linear(width, classes)
    nn.init.trunc_normal_(linear.weight, std=2e-5 if mean else 0.01)  # as in MAE
    nn.init.zeros_(linear.bias)
    return nn.Sequential(norm, linear)


class ProbeNorm(nn.BatchNorm1d):
    """BatchNorm that takes a single tile, of which there is no spread, by its running statistics."""

    def forward(self, features: Tensor) -> Tensor:
        """Return standardised features (B, D)."""
        if self.training and len(features) == 1:
            return F.batch_norm(features, self.running_mean, self.running_var, eps=self.eps)
        return super().forward(features)


class NearestNeighbours(nn.Module):
    """The labelled tiles that are most similar vote; nothing is trained.

    Parameters
    ----------
    width
        Channels of the features.
    classes
        Number of classes.
    neighbours
        How many vote, at most.
    """

    features: Tensor
    labels: Tensor

    def __init__(self, width: int, classes: int, neighbours: int) -> None:
        super().__init__()
        self.classes, self.neighbours = classes, neighbours
        self.register_buffer("features", torch.zeros(0, width))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))

    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Keep the labelled tiles.

        Parameters
        ----------
        features
            Pooled tokens of the labelled tiles, (N, D).
        labels
            Their class indices, (N,), 0 to classes - 1.

        Raises
        ------
        ValueError
            If there are none, or shapes or indices do not fit.
        """
        width = self.features.shape[1]
        if features.ndim != 2 or features.shape[1] != width or labels.shape != features.shape[:1] or not len(labels):
            raise ValueError(
                f"got features {tuple(features.shape)} and labels {tuple(labels.shape)}; expected (N, {width}) and (N,), N > 0"
            )
        if int(labels.min()) < 0 or int(labels.max()) >= self.classes:
            raise ValueError(f"labels go from {int(labels.min())} to {int(labels.max())}; expected 0 to {self.classes - 1}")
        self.reserve(0)
        self.extend(features, labels)

    def extend(self, features: Tensor, labels: Tensor) -> None:
        """Keep more labelled tiles beside those that are kept; as :meth:`fit`, but no number is looked at: no GPU waits."""
        device = self.features.device
        directions = F.normalize(features.detach().float(), dim=1).to(device)
        self.features = torch.cat([self.features, directions])
        self.labels = torch.cat([self.labels, labels.detach().to(device, torch.int64)])

    def reserve(self, count: int) -> None:
        """Make room for `count` labelled tiles, to be loaded."""
        self.features = self.features.new_zeros(count, self.features.shape[1])
        self.labels = self.labels.new_zeros(count)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the logarithm of each class's share of the votes, (B, classes), of pooled tokens (B, D).

        Raises
        ------
        RuntimeError
            If no labelled tiles were given yet.
        """
        if not len(self.labels):
            raise RuntimeError("the nearest-neighbour head has no labelled tiles; call fit(features, labels) first")
        with torch.autocast(pooled.device.type, enabled=False):
            similarity = F.normalize(pooled.float(), dim=1) @ self.features.T
            nearest, index = similarity.topk(min(self.neighbours, len(self.labels)), dim=1)
            votes = (nearest / VOTE_TEMPERATURE).softmax(1)
            shares = votes.new_zeros(len(pooled), self.classes).scatter_add_(1, self.labels[index], votes)
            return shares.clamp_min(1e-7).log()
