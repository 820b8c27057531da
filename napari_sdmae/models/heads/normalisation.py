"""The same answer for a tile alone and in a batch: GroupNorm instead of BatchNorm.

A pooled 1 × 1 map makes BatchNorm fail with a single tile, and micro-batches would each have statistics of their own.
"""

from __future__ import annotations

from math import gcd

from torch import nn


def group_norm(width: int) -> nn.GroupNorm:
    """Return a GroupNorm of about 16 channels per group (Wu and He, arXiv 1803.08494): the same for any batch size."""
    return nn.GroupNorm(gcd(width, max(width // 16, 1)), width)


def without_batch_norm(module: nn.Module) -> nn.Module:
    """Exchange every BatchNorm2d in `module` for a GroupNorm, and return it."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, group_norm(child.num_features))
        else:
            without_batch_norm(child)
    return module
