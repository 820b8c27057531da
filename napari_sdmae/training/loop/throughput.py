"""How fast a run goes and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SMOOTHING = 0.3
"""Weight of the latest speed in the one the remaining time is computed from."""


class Throughput:
    """Images per second between two logs, without the time spent on previews and checkpoints."""

    def __init__(self) -> None:
        self._mark = time.perf_counter()
        self._smooth: float | None = None

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Leave the time inside out of the speed."""
        start = time.perf_counter()
        yield
        self._mark += time.perf_counter() - start

    def images_per_s(self, images: int) -> float:
        """Return the speed at which `images` were done since the last call."""
        now = time.perf_counter()
        speed = images / max(now - self._mark, 1e-9)
        self._mark = now
        self._smooth = speed if self._smooth is None else SMOOTHING * speed + (1 - SMOOTHING) * self._smooth
        return speed

    def seconds_for(self, images: int) -> float:
        """Return the time `images` more will take."""
        return images / self._smooth if self._smooth else 0.0
