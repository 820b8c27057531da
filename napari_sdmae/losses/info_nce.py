"""Contrast of two views: the encoder recognises what the decoder made of the same patch (or tile) in the other view.

InfoNCE (van den Oord, Li and Vinyals 2018), both ways as in CLIP (Radford et al. 2021). One answer for all does not solve it: a
collapsed pair of heads has the loss of guessing, the logarithm of the number of candidates.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sdmae.devices.distributed import all_gather_with_grad, rank
from napari_sdmae.moved import renamed


def info_nce(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Symmetric InfoNCE loss between student and teacher embeddings.

    Parameters
    ----------
    student, teacher
        Unit vectors (2B, K, D), K of each of B tiles: first views, then second ones. The teachers computed in a view are those of
        the other view's students.
    temperature
        Divides the cosines.

    Returns
    -------
    tuple
        The loss, in nats, and detached measures: ``mutual_information`` of the two views as far as the loss proves it, in nats;
        ``recognised``, the fraction found; ``feature_spread`` of the teachers, 1 where their directions go everywhere alike, 0
        where they are one. All ranks' are candidates, but of one view only, so that no patch is told from itself.
    """
    seen = student.reshape(2, -1, student.shape[-1])
    meant = teacher.reshape(2, -1, teacher.shape[-1]).flip(0)
    rows = seen.shape[1]
    teachers, students = all_gather_with_grad(meant, dim=1), all_gather_with_grad(seen, dim=1)
    own = (rank() * rows + torch.arange(rows, device=seen.device)).repeat(2)
    forwards = (seen @ teachers.mT / temperature).flatten(0, 1)
    backwards = (meant @ students.mT / temperature).flatten(0, 1)
    loss = (F.cross_entropy(forwards, own) + F.cross_entropy(backwards, own)) / 2
    return loss, {
        "mutual_information": math.log(teachers.shape[1]) - loss.detach(),
        "recognised": (forwards.detach().argmax(1) == own).float().mean(),
        "feature_spread": meant.detach().flatten(0, 1).var(0, correction=0).sum().sqrt(),
    }


__getattr__ = renamed(__name__, contrast="info_nce")
