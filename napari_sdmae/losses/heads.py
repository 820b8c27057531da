"""Losses of fine-tuning.

None of them counts or picks pixels: pixels that are not learned weigh 0, so that no step waits for the numbers of a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor, nn

from napari_sdmae.config.head import HeadSpec
from napari_sdmae.labels.label_map import IGNORE

OUTSIDE = 0.1
"""Weight of the separation map outside of objects, where it decides nothing; inside it is 1."""


class HeadLosses(NamedTuple):
    """Losses of a batch, each a scalar float32 tensor on the device.

    Attributes
    ----------
    total
        What is minimised.
    parts
        Its terms, detached, by name.
    """

    total: Tensor
    parts: dict[str, Tensor]


class Segmented(Protocol):
    """What the segmentation loss reads."""

    @property
    def logits(self) -> Tensor:
        """(B, C, H, W)."""

    @property
    def auxiliary(self) -> Tensor | None:
        """Shaped alike."""


class Separated(Protocol):
    """What the loss of instances reads."""

    @property
    def foreground(self) -> Tensor:
        """Logits (B, 1, H, W)."""

    @property
    def separation(self) -> Tensor:
        """Logits (B, 1, H, W)."""

    @property
    def types(self) -> Tensor | None:
        """Logits (B, T, H, W)."""

    @property
    def auxiliary(self) -> Tensor | None:
        """Logits (B, 2 or 2 + T, H, W)."""


class HeadLoss(nn.Module):
    """The loss of a head's task.

    Parameters
    ----------
    spec
        Task, classes and the settings of the head.
    class_weights
        Weight of each class, in the order of ``spec.classes``, in cross entropies and focal loss; None: all the same.
    label_smoothing
        Of classification.

    Raises
    ------
    ValueError
        If there is not one weight per class.
    """

    weights: Tensor | None

    def __init__(self, spec: HeadSpec, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if class_weights is not None and len(class_weights) != len(spec.classes):
            raise ValueError(f"got {len(class_weights)} class weights; expected one for each of the {len(spec.classes)} classes")
        self.spec, self.label_smoothing = spec, label_smoothing
        given = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weights", given, persistent=False)
        self.dice = DiceLoss("multiclass", ignore_index=IGNORE)

    def forward(self, output: Any, targets: Any) -> HeadLosses:
        """Return the losses of a batch.

        Parameters
        ----------
        output
            What the model returned while training; of detection its dictionary of losses.
        targets
            Segmentation: class indices (B, H, W), :data:`IGNORE` where nothing is learned. Instances: ``foreground``, 0, 1 or
            :data:`IGNORE`, and ``separation`` in [0, 1], (B, 1, H, W), and ``types``, type indices (B, H, W), :data:`IGNORE`
            outside objects.
            Classification: class indices (B,) or probabilities (B, C). Detection: not read.
        """
        if self.spec.task == "segmentation":
            return self._segmentation(output, targets)
        if self.spec.task == "instances":
            return self._instances(output, targets)
        if self.spec.task == "classification":
            loss = F.cross_entropy(output.float(), targets, self.weights, label_smoothing=self.label_smoothing)
            return _summed({"cross_entropy": loss})
        return _summed(dict(output))

    def _segmentation(self, output: Segmented, targets: Tensor) -> HeadLosses:
        terms = self._pixels(output.logits.float(), targets)
        if output.auxiliary is not None:
            terms["auxiliary"] = self.spec.head.auxiliary * _total(self._pixels(output.auxiliary.float(), targets))
        return _summed(terms)

    def _pixels(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the terms of the chosen loss of logits (B, C, H, W); all are 0 where no pixel is labelled."""
        chosen = self.spec.head.loss
        if chosen == "lovasz":
            return {"lovasz": lovasz(logits, targets)}
        if chosen == "focal":
            return {"focal": focal(logits, targets, self.weights)}
        terms = {} if chosen == "dice" else {"cross_entropy": labelled_cross_entropy(logits, targets, self.weights)}
        return terms if chosen == "cross_entropy" else terms | {"dice": self.dice(logits, targets)}

    def _instances(self, output: Separated, targets: Mapping[str, Tensor]) -> HeadLosses:
        terms = self._objects(output.foreground, output.separation, output.types, targets)
        if output.auxiliary is not None:
            maps = output.auxiliary
            types = maps[:, 2:] if maps.shape[1] > 2 else None
            found = self._objects(maps[:, :1], maps[:, 1:2], types, targets)
            terms["auxiliary"] = self.spec.head.auxiliary * _total(found)
        return _summed(terms)

    def _objects(
        self, foreground: Tensor, separation: Tensor, types: Tensor | None, targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the terms of foreground, separation and types of logits (B, …, H, W)."""
        known = (targets["foreground"] != IGNORE).float()
        inside = targets["foreground"] * known
        surprise = F.binary_cross_entropy_with_logits(foreground.float(), inside, known, reduction="sum")
        terms = {
            "foreground": surprise / known.sum().clamp_min(1) + soft_dice(foreground.float(), inside, known),
            "separation": self._separation(separation.float(), targets["separation"], inside, known),
        }
        if types is not None:
            terms["types"] = labelled_cross_entropy(types.float(), targets["types"], self.weights)
        return terms

    def _separation(self, logits: Tensor, wanted: Tensor, inside: Tensor, known: Tensor) -> Tensor:
        """Return the weighted mean of smooth L1 (distance) or binary cross entropy (boundary) where it is known."""
        weight = torch.where(inside > 0, 1.0, OUTSIDE) * known
        if self.spec.head.separation == "distance":
            each = F.smooth_l1_loss(logits.sigmoid(), wanted, reduction="none", beta=0.1)
        else:
            each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return (weight * each).sum() / weight.sum().clamp_min(torch.finfo(each.dtype).tiny)


def weighs_classes(spec: HeadSpec) -> bool:
    """Return whether weights of the classes change the loss of such a head."""
    return spec.task in ("classification", "instances") or (
        spec.task == "segmentation" and spec.head.loss not in ("dice", "lovasz")
    )


def labelled_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the cross entropy of logits (B, C, H, W), weighted mean over the labelled pixels; 0 if there are none."""
    summed = F.cross_entropy(logits, targets, weights, ignore_index=IGNORE, reduction="sum")
    known = targets != IGNORE
    weight = known if weights is None else weights[targets.clamp_min(0)] * known
    return summed / weight.sum().clamp_min(torch.finfo(logits.dtype).tiny)


def focal(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the focal loss (Lin et al., arXiv 1708.02002; γ = 2) of each class of logits (B, C, H, W) against all others.

    Mean over the labelled pixels, 0 if there are none, and (weighted) mean over the classes: as in segmentation-models-pytorch,
    bit for bit where all pixels are labelled.
    """
    known, losses = targets != IGNORE, []
    for index in range(logits.shape[1]):
        surprise = F.binary_cross_entropy_with_logits(logits[:, index], (targets == index).float(), reduction="none")
        each = (1.0 - torch.exp(-surprise)).pow(2.0) * surprise
        losses.append((each * known).sum() / known.sum().clamp_min(1))
    classes = torch.stack(losses)
    return classes.mean() if weights is None else (classes * weights).sum() / weights.sum()


def lovasz(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the Lovász-Softmax loss (Berman et al., CVPR 2018) of logits (B, C, H, W), mean over the classes that occur.

    Pixels that are not labelled have no error: they come last and change nothing.
    """
    known = (targets != IGNORE).flatten()
    found, total, present = logits.softmax(1), logits.sum() * 0, known.sum() * 0
    for index in range(logits.shape[1]):
        wanted = (targets == index).flatten().to(found.dtype)
        errors, order = ((wanted - found[:, index].flatten()).abs() * known).sort(descending=True)
        occurs = wanted.any()
        total = total + torch.dot(errors, _jaccard_gains(wanted[order])) * occurs
        present = present + occurs
    return total / present.clamp_min(1)


def _jaccard_gains(wanted: Tensor) -> Tensor:
    """Return by how much the Jaccard loss grows with each of the errors, sorted from the largest: (N,) of 0 or 1 wanted."""
    count = wanted.sum()
    jaccard = 1.0 - (count - wanted.cumsum(0)) / (count + (1 - wanted).cumsum(0))
    return jaccard.diff(prepend=jaccard.new_zeros(1))


def soft_dice(logits: Tensor, inside: Tensor, known: Tensor) -> Tensor:
    """Return 1 - 2 Σ p·t / (Σ p + Σ t) over the known pixels of a batch.

    1 is added above and below, so that a batch without objects asks for p = 0.
    """
    found = logits.sigmoid() * known
    return 1 - (2 * (found * inside).sum() + 1) / (found.sum() + inside.sum() + 1)


def _total(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def _summed(terms: Mapping[str, Tensor]) -> HeadLosses:
    return HeadLosses(_total(terms), {name: value.detach() for name, value in terms.items()})
