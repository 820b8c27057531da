"""Images decoded by several threads, handed out in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import SourceFile, which
from napari_sdmae.data.tiles.grid import Positions, Tiles, cut
from napari_sdmae.io.images.read import About, read_about

THREADS = min(8, os.cpu_count() or 1)
SMALL_PIXELS = 16_000_000
"""Images up to this size are decoded ahead, `2 * THREADS` at a time (at most 0.8 GB); larger ones when their turn comes."""

Chunks = Iterable[tuple[Tiles, Positions]]
Decode = Callable[[], tuple[Chunks, About]]
"""Returns the tiles of one image, row by row, and its µm/px and notes, which are complete after the last row; it and its
iteration raise `UnusableImage`."""


def decode_in_order(
    images: Iterable[tuple[SourceFile, int, int]], edge: int, settings: TilesConfig
) -> Iterator[tuple[SourceFile, Decode]]:
    """Yield each image with the function that hands out its tiles.

    Parameters
    ----------
    images
        (file, height, width).
    edge
        Edge of the tiles, in px.
    settings
        Tissue filter.
    """
    waiting: deque[tuple[SourceFile, Decode]] = deque()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
    try:
        for file, height, width in images:
            if height * width <= SMALL_PIXELS:
                waiting.append((file, pool.submit(_whole, file.path, edge, settings).result))
            else:
                waiting.append((file, partial(_row_by_row, file.path, edge, settings)))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)


def _whole(path: Path, edge: int, settings: TilesConfig) -> tuple[Chunks, About]:
    chunks, about = _row_by_row(path, edge, settings)
    return list(chunks), about


def _row_by_row(path: Path, edge: int, settings: TilesConfig) -> tuple[Chunks, About]:
    about = read_about(path, which(settings))
    return cut(path, edge, settings, about.notes), about
