"""A large picture in blocks that overlap, so that memory stays bounded and the result is that of the whole.

The windows of a block are those that the whole picture has there, so that the model sees the very same.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_sdmae import humanize
from napari_sdmae.io.memory import TooLargeError

IN_MEMORY = 256 * 2**20
"""Larger results are kept in a temporary file, mapped into memory, whose pages the system can take back."""


@dataclass(frozen=True)
class Span:
    """Part of one side of a picture, in px of the model.

    Attributes
    ----------
    start, stop
        What is read.
    inner_start, inner_stop
        The part of it that counts.
    windows
        Where the windows of the whole picture begin that lie in it, counted from `start`.
    last
        Whether it ends with the picture.
    """

    start: int
    stop: int
    inner_start: int
    inner_stop: int
    windows: list[int]
    last: bool

    @property
    def length(self) -> int:
        """Px that are read."""
        return self.stop - self.start

    def holds(self, positions: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which positions, the middle of the first pixel of the picture at 0, lie in the part that counts."""
        edges = positions + 0.5
        return (edges >= self.inner_start) & (edges < self.inner_stop)


@dataclass(frozen=True)
class Block:
    """A rectangle of a picture at the scale of the model."""

    rows: Span
    columns: Span

    @property
    def rectangle(self) -> tuple[int, int, int, int]:
        """What is read: row, column, height, width."""
        return self.rows.start, self.columns.start, self.rows.length, self.columns.length

    @property
    def windows(self) -> tuple[list[int], list[int]]:
        """Where its windows begin, in rows and columns."""
        return self.rows.windows, self.columns.windows


def spans(length: int, window: int, places: list[int], *, core: int, margin: int) -> list[Span]:
    """Return the spans of a side of `length` px.

    Parameters
    ----------
    length
        px.
    window
        Edge of the windows, px.
    places
        Where the windows of the whole side begin.
    core
        Length of the inner parts, at most.
    margin
        px around the inner part that must be seen as in the whole, so that objects there are whole.
    """
    edges = np.linspace(0, length, -(-length // core) + 1).round().astype(int).tolist()
    found = []
    for inner_start, inner_stop in pairwise(edges):
        chosen = [place for place in places if place < inner_stop + margin and place + window > inner_start - margin]
        start, stop = chosen[0], min(chosen[-1] + window, length)
        windows = [place - start for place in chosen]
        found.append(Span(start, stop, inner_start, inner_stop, windows, inner_stop == length))
    return found


def strips(length: int, height: int) -> Iterator[slice]:
    """Yield slices of at most `height` rows."""
    for start in range(0, length, height):
        yield slice(start, min(start + height, length))


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return zeros: in memory, or in a temporary file that is gone with the array, if larger than :data:`IN_MEMORY`.

    Raises
    ------
    TooLargeError
        If the disk of temporary files has less room: writing beyond it would end the process without a word.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.zeros(shape, dtype)
    folder = tempfile.gettempdir()
    if size > (free := shutil.disk_usage(folder).free):
        raise TooLargeError(
            f"results for {' × '.join(map(str, shape))} values need {humanize.size(size)} in {folder}, "
            f"{humanize.size(free)} are free: choose a region, or a larger disk for temporary files (TMPDIR)"
        )
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, "w+", shape=shape)
