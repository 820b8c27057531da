"""Whether an Apple GPU computes what the CPU does."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


@cache
def mps_fault() -> str | None:
    """Return why an Apple GPU cannot be used, or None: compares forward and backward of an attention block to the CPU."""
    if not torch.backends.mps.is_available():
        return "no Apple GPU"
    try:
        results = [_self_test(torch.device(kind)) for kind in ("cpu", "mps")]
    except RuntimeError as error:
        return f"the Apple GPU failed its self-test ({str(error).splitlines()[0]})"
    deviation = (results[0] - results[1]).abs().max().item()
    return None if deviation < 1e-3 else f"the Apple GPU failed its self-test (differs from the CPU by {deviation:.1e})"


def _self_test(device: torch.device) -> Tensor:
    """Return the input gradient of a fixed transformer layer and gather on `device`, on the CPU."""
    tokens = torch.sin(torch.arange(2 * 16 * 32.0)).reshape(2, 16, 32).to(device).requires_grad_()
    order = torch.arange(15, -1, -1, device=device)[None, :, None].expand(2, 16, 32)
    weight = torch.cos(torch.arange(32 * 96.0)).reshape(96, 32).to(device) / 6
    query, key, value = (tokens.gather(1, order) @ weight.T).chunk(3, dim=-1)
    result = (query @ key.transpose(1, 2) / 32**0.5).softmax(dim=-1) @ value
    loss = torch.nn.functional.gelu(torch.nn.functional.layer_norm(result, (32,))).square().sum()
    return torch.autograd.grad(loss, tokens)[0].cpu()
