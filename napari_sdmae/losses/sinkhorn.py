"""Sinkhorn-Knopp: targets that use all codes equally.

Three iterations (SwAV) balance the targets over the batch of all ranks. They run on logarithms, so that no temperature
overflows, and gather one number per code and iteration. Detached teacher and Sinkhorn targets were the default before the
contrast of two views (docs/decisions/0009); that loss stayed near chance, and the settings remain (``centring: sinkhorn``,
``teacher_gradient: false``).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from napari_sdmae.devices.distributed import all_gather_with_grad

SINKHORN_ITERATIONS = 3


def sinkhorn(logits: Tensor, iterations: int = SINKHORN_ITERATIONS) -> Tensor:
    """Return log targets that use every code equally often over the batch of all ranks (SwAV, Caron et al. 2020).

    Parameters
    ----------
    logits
        Teacher logits over temperature, (N, K), N rows on this rank.
    iterations
        Alternations of "each code equally often" and "each row sums to 1".

    Returns
    -------
    Tensor
        Log probabilities (N, K). Everything stays in logarithms: no temperature overflows.
    """
    log_q = F.log_softmax(logits, dim=1)
    for _ in range(iterations):
        log_q = F.log_softmax(log_q - _logsumexp_over_batch(log_q), dim=1)
    return log_q


def _logsumexp_over_batch(log_q: Tensor) -> Tensor:
    """Return the log of the column sums of exp(log_q) over the rows of all ranks, (1, K)."""
    return all_gather_with_grad(log_q.logsumexp(0, keepdim=True)).logsumexp(0, keepdim=True)
