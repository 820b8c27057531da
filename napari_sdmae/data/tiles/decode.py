"""Images decoded by several threads, handed out in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import ReadableImage, SourceFile
from napari_sdmae.data.tiles.grid import Positions, Tiles, cut
from napari_sdmae.io.images.read import Header

THREADS = min(8, os.cpu_count() or 1)
SMALL_PIXELS = 16_000_000
"""Images up to this size are decoded ahead, `2 * THREADS` at a time (at most 0.8 GB); larger ones when their turn comes."""

Chunks = Iterable[tuple[Tiles, Positions]]
Decode = Callable[[], tuple[Chunks, Header]]
"""Returns the tiles of one image, row by row, and its header with the notes, which are complete after the last row; it and its
iteration raise `InvalidImageError`."""


def decode_in_order(images: Iterable[ReadableImage], edge: int, settings: TilesConfig) -> Iterator[tuple[SourceFile, Decode]]:
    """Yield each image with the function that hands out its tiles.

    Parameters
    ----------
    images
        Files whose header was read.
    edge
        Edge of the tiles, in px.
    settings
        Tissue filter.
    """
    waiting: deque[tuple[SourceFile, Decode]] = deque()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
    try:
        for image in images:
            if prod(image.header.size) <= SMALL_PIXELS:
                waiting.append((image.file, pool.submit(_whole, image, edge, settings).result))
            else:
                waiting.append((image.file, partial(_row_by_row, image, edge, settings)))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)


def _whole(image: ReadableImage, edge: int, settings: TilesConfig) -> tuple[Chunks, Header]:
    chunks, header = _row_by_row(image, edge, settings)
    return list(chunks), header


def _row_by_row(image: ReadableImage, edge: int, settings: TilesConfig) -> tuple[Chunks, Header]:
    header = image.header._replace(notes=list(image.header.notes))  # more of them come with the rows
    return cut(image.file.path, edge, settings, header), header
