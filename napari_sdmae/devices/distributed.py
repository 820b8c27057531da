"""What the processes of one training share."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def distributed() -> bool:
    """Return whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """Return the number of this process, 0 when it is alone."""
    return dist.get_rank() if distributed() else 0


def all_gather_with_grad(values: Tensor, dim: int = 0) -> Tensor:
    """Return `values` of all processes in the order of their ranks, joined along `dim`; gradients flow to all of them."""
    return torch.cat(_Gathered.apply(values).unbind(), dim) if distributed() else values


class _Gathered(torch.autograd.Function):
    """(…) of each rank → (ranks, …). PyTorch's own differentiable all_gather is wrong for gradients that are not contiguous."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, values.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[dist.get_rank()]
