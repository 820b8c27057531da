"""What all metrics have in common."""

from __future__ import annotations

from typing import Protocol

Values = dict[str, float]
PerClass = dict[str, Values]


class Metrics(Protocol):
    """What all of them say once they have seen all images."""

    def compute(self) -> Values:
        """Return the numbers over all images, by name."""
        ...

    def per_class(self) -> PerClass:
        """Return the numbers of each class by its name; a class about which nothing can be said has none."""
        ...

    def confusion(self) -> list[list[int]] | None:
        """Return how often a class (row) was taken for each (column), or None where that means nothing."""
        ...
