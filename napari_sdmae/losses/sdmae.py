"""The loss of SD-MAE: reconstruction plus self-distillation, and measures of collapse (method, steps 5 to 7).

``total = p · distillation + (1 - p) · reconstruction``. :meth:`LossConfig.paper` gives the published arithmetic; every other
choice is an option of :class:`~napari_sdmae.config.pretrain.LossConfig`.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sdmae.config.pretrain import HEADS, IMAGENET_MEAN, IMAGENET_STD, LossConfig
from napari_sdmae.devices.distributed import distributed
from napari_sdmae.losses.collapse import code_measures
from napari_sdmae.losses.info_nce import info_nce
from napari_sdmae.losses.sinkhorn import sinkhorn
from napari_sdmae.models.patches import gather_tokens, normalise_patches, patchify, split_channels, split_mask


class ModelOutput(Protocol):
    """What the loss needs of a model's output; see :class:`napari_sdmae.models.SDMAEOutput`."""

    @property
    def reconstruction(self) -> Tensor:
        """Predicted targets of the masked patches, (B, M, P·P·3)."""

    @property
    def student(self) -> Tensor | None:
        """Student logits (B, K) or (B, V, K), or predicted tokens (B, V, D)."""

    @property
    def teacher(self) -> Tensor | None:
        """Teacher logits or tokens, shaped like the student's."""


class SDMAELosses(NamedTuple):
    """Losses of a batch, each a scalar float32 tensor on the device.

    Attributes
    ----------
    total
        ``p · distillation + (1 - p) · reconstruction``.
    reconstruction
        Mean squared error over masked patches and all their values.
    distillation
        Mean distance of student and teacher; 0 without heads.
    diagnostics
        Detached: ``p`` always; with heads ``cross_entropy``, ``teacher_entropy``, ``mutual_information`` = H(mean teacher) -
        mean H(teacher) in nats over this batch, and ``codes_in_use`` = distinct arg-max codes. Regression distances have no
        codes and report ``feature_spread`` instead: the standard deviation of the student's prediction over tokens. The
        contrast reports the measures of :func:`~napari_sdmae.losses.info_nce.info_nce`; where tiles and patches are compared,
        those of patches have ``patch_`` before the name.
    """

    total: Tensor
    reconstruction: Tensor
    distillation: Tensor
    diagnostics: dict[str, Tensor]


class SDMAELoss(nn.Module):
    """Reconstruction and self-distillation loss.

    The running centre is a buffer: save and load the module's state with the training state.

    Parameters
    ----------
    config
        Which loss.
    outputs
        Number K of head outputs, for the centre.
    mean, std
        What the model's input was normalised with: the pixel target is computed on [0, 1] pixels.
    """

    centre: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        config: LossConfig,
        outputs: int = 4096,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("centre", torch.zeros(1, outputs))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._pending: list[Tensor] = []

    def forward(self, output: ModelOutput, images: Tensor, mask: Tensor, epoch: float, update_centre: bool = True) -> SDMAELosses:
        """Compute the losses of a batch.

        Parameters
        ----------
        output
            The model's output for `images` and `mask`; with ``target="token"`` computed with ``per_token=True``, for the contrast
            with ``pair_indices`` patches.
        images
            The normalised images given to the model, (B, 3, H, W); with two views all first ones before all second ones.
        mask
            bool, (B, L), True = masked.
        epoch
            Position in training, may be fractional: drives the ramp of p and the teacher's temperature.
        update_centre
            False on all but the last part of an accumulated batch: its probabilities wait for the next update.
        """
        reconstruction = F.mse_loss(output.reconstruction.float(), self.pixel_target(output, images, mask))
        p = distillation_weight(self.config, epoch)
        distillation, diagnostics = torch.zeros_like(reconstruction), {"p": torch.full_like(reconstruction.detach(), p)}
        if output.student is not None and output.teacher is not None:
            self._check(output.student, output.teacher)
            teacher = output.teacher if self.config.teacher_gradient else output.teacher.detach()
            student, teacher = output.student.float(), teacher.float()
            if self.config.distance == "cross_entropy":
                distillation, measures = self._cross_entropy(student, teacher, epoch, update_centre)
            elif self.config.distance == "contrast":
                distillation, measures = self._contrast(student, teacher)
            else:
                distillation, measures = self._regression(student, teacher)
            diagnostics |= measures
        elif p > 0:
            raise ValueError(f"p is {p:g} at epoch {epoch:g} but the model was called with heads=False")
        return SDMAELosses(p * distillation + (1 - p) * reconstruction, reconstruction, distillation, diagnostics)

    def pixel_target(self, output: ModelOutput, images: Tensor, mask: Tensor) -> Tensor:
        """Return the normalised true pixels of the masked patches, shaped like the reconstruction (B, M, P·P·3)."""
        masked, values = output.reconstruction.shape[1:]
        patches = patchify(images.float(), math.isqrt(values // 3))
        hidden = split_channels(gather_tokens(patches, split_mask(mask, masked)[1]))
        pixels = hidden * self.std.view(3) + self.mean.view(3)
        return normalise_patches(pixels.flatten(-2), self.config.target_normalisation)

    def reset_pending(self) -> None:
        """Forget the parts of a batch that is given up and begun again, as after running out of memory."""
        self._pending.clear()

    def _check(self, student: Tensor, teacher: Tensor) -> None:
        """Refuse outputs of a model that was called or configured for another loss."""
        token = self.config.distance == "contrast" or self.config.target == "token"
        if student.shape != teacher.shape or student.ndim != 2 + token:
            raise ValueError(
                f"distance {self.config.distance!r} with target {self.config.target!r} needs student and teacher of one shape in "
                f"{2 + token} dimensions, got {tuple(student.shape)} and {tuple(teacher.shape)}; call the model with "
                f"per_token={token} and use the head {HEADS[self.config.distance]}"
            )
        if len(student) % self.config.views:
            raise ValueError(f"distance {self.config.distance!r} compares two views of each tile, got {len(student)} rows")

    def _cross_entropy(self, student: Tensor, teacher: Tensor, epoch: float, update: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean over rows of -Σ q log s and the measures of the targets q, from logits (…, K)."""
        predicted = F.log_softmax(student.flatten(0, -2) / self.config.student_temperature, dim=1)
        logits, temperature = teacher.flatten(0, -2), teacher_temperature(self.config, epoch)
        if self.config.centring == "sinkhorn":
            log_target = sinkhorn(logits / temperature)
        elif self.config.centring == "none":
            log_target = F.log_softmax(logits / temperature, dim=1)
        else:
            log_target = F.log_softmax((logits - self.centre) / temperature, dim=1)
            self._move_centre(log_target.detach().exp(), update)
        target = log_target.exp()
        loss = -(target * predicted).sum(1).mean()
        return loss, {"cross_entropy": loss.detach()} | code_measures(target.detach(), log_target.detach())

    def _contrast(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean contrastive loss over the enabled levels (tile, patch), of unit vectors (2B, 1 + K, D)."""
        tile, patches = slice(0, 1), slice(1, None)
        parts = {"image": {"": tile}, "token": {"": patches}, "both": {"": tile, "patch_": patches}}[self.config.target]
        losses, measures = [], dict[str, Tensor]()
        for name, rows in parts.items():
            loss, found = info_nce(student[:, rows], teacher[:, rows], self.config.student_temperature)
            losses.append(loss)
            measures |= {name + measure: value for measure, value in found.items()}
        return torch.stack(losses).mean(), measures

    def _regression(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the distance of predicted tokens to the decoder's LayerNorm'ed tokens, both (B, V, D)."""
        target = F.layer_norm(teacher, teacher.shape[-1:])
        spread = {"feature_spread": student.detach().flatten(0, -2).std(0).mean()}
        if self.config.distance == "smooth_l1":
            return F.smooth_l1_loss(student, target), spread
        return (1 - F.cosine_similarity(student, target, dim=-1)).mean(), spread

    @torch.no_grad()
    def _move_centre(self, probabilities: Tensor, update: bool) -> None:
        """Move the centre towards the mean of the probabilities (N, K) over all parts of the batch and all ranks."""
        rows = torch.full_like(probabilities[:1, :1], len(probabilities))
        self._pending.append(torch.cat([probabilities.sum(0, keepdim=True), rows], 1))
        if not update:
            return
        total = torch.stack(self._pending).sum(0)
        self._pending.clear()
        if distributed():
            dist.all_reduce(total)
        momentum = self.config.centre_momentum
        self.centre.mul_(momentum).add_(total[:, :-1] / total[:, -1:], alpha=1 - momentum)


def distillation_weight(config: LossConfig, epoch: float) -> float:
    """Return p at `epoch`: 0 before its start, then a linear ramp to ``config.p``."""
    elapsed = epoch - config.p_start_epoch
    if elapsed < 0:
        return 0.0
    return config.p if elapsed >= config.p_ramp_epochs else config.p * elapsed / config.p_ramp_epochs


def teacher_temperature(config: LossConfig, epoch: float) -> float:
    """Return the teacher's temperature in `epoch`: the warm-up's epochs are evenly spaced, both ends included."""
    start, end, count = config.warmup_teacher_temperature, config.teacher_temperature, config.warmup_teacher_epochs
    whole = int(epoch)
    return end if whole >= count else start + (end - start) * whole / max(count - 1, 1)
