"""Running means of the metrics, kept on the device so that no step waits for the host."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from napari_sdmae.moved import renamed


class RunningMean:
    """Mean of named numbers over steps.

    Parameters
    ----------
    device
        Where the numbers come from.
    state
        What :meth:`state` of an earlier process returned; adding goes on as if nothing had happened, to the last bit.
    """

    def __init__(self, device: torch.device, state: Mapping[str, float] | None = None) -> None:
        sums = dict(state or {})
        self.steps = int(sums.pop("steps", 0))
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._names = tuple(sums)
        self._sum = torch.tensor(list(sums.values()), dtype=self._dtype, device=device) if sums else None

    def add(self, names: tuple[str, ...], values: Tensor) -> None:
        """Add the numbers of one step, shape (len(names),)."""
        self._names = names
        self._sum = values.to(self._dtype) if self._sum is None else self._sum + values
        self.steps += 1

    def state(self) -> dict[str, float]:
        """Return the sums and, as ``steps``, the number of steps; reading them waits for the device."""
        sums = {} if self._sum is None else dict(zip(self._names, self._sum.tolist(), strict=True))
        return {**sums, "steps": float(self.steps)}

    def take(self) -> dict[str, float]:
        """Return the means and start anew."""
        sums = self.state()
        steps = sums.pop("steps")
        self._sum, self.steps = None, 0
        return {name: value / steps for name, value in sums.items()}


__getattr__ = renamed(__name__, Means="RunningMean")
