"""The two growing files of a tile cache, and how filling goes on after a crash.

The disk is waited for in a thread of its own: decoding goes on meanwhile, which halves the time of many small images.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from napari_sdmae.data.tiles.decode import Decode
from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.text.documents import parse_json

TILES, JOURNAL = "tiles.u8", "journal.jsonl"
FLUSH_S = 2.0
"""Least time between two flushes to the disk, in seconds: what a crash costs."""


@dataclass(frozen=True)
class Entry:
    """What became of one image: the (row, column) of its tiles of `edge` px, its µm/px, or the reason why it cannot be used.

    `notes` are what must be known of it.
    """

    name: str
    edge: int
    positions: list[list[int]]
    mpp: float | None = None
    reason: str | None = None
    notes: list[str] = field(default_factory=list)


def read_entries(folder: Path) -> list[Entry]:
    """Return the complete lines of the journal in `folder`; a line cut short by a crash, and what follows it, is left out."""
    path = folder / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    entries = []
    for line in lines:
        try:
            entries.append(Entry(**parse_json(line)))
        except (ValueError, TypeError):
            break
        if not line.endswith(b"\n"):
            return entries[:-1]
    return entries


def count_entries(folder: Path) -> int:
    """Return the number of images in the journal of `folder`, without reading what became of them."""
    try:
        return (folder / JOURNAL).read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


class Journal:
    """Appends images to a cache; entering the context goes back to the last image that is safe on the disk.

    Parameters
    ----------
    folder
        Folder of the cache.
    edge
        Edge of the tiles, in px.
    names
        Names of all images that will be added, in this order.
    """

    def __init__(self, folder: Path, edge: int, names: list[str]) -> None:
        self.folder = folder
        self.edge = edge
        self.tile_bytes = edge * edge * 3
        self.entries = self._safe_entries(names)
        self._waiting: list[Entry] = []
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._saving: Future[None] = self._saver.submit(lambda: None)
        self._flushed = time.monotonic()

    def __enter__(self) -> Self:
        size = self.tile_bytes * sum(len(entry.positions) for entry in self.entries)
        self._tiles = _open_cut(self.folder / TILES, size)
        self._journal = _open_cut(self.folder / JOURNAL, len(_lines(self.entries)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if not isinstance(error, OSError):  # a full disk: what is safe is safe, and more cannot be written
                self.flush()
        finally:
            self._saver.shutdown()
            self._tiles.close()
            self._journal.close()

    def add(self, name: str, decode: Decode) -> None:
        """Append the tiles of one image, or the reason why there are none.

        Raises
        ------
        OSError
            If the disk is full.
        """
        start = self._tiles.tell()
        positions: list[list[int]] = []
        try:
            chunks, header = decode()
            for tiles, places in chunks:
                self._tiles.write(np.ascontiguousarray(tiles).data)
                positions += places.tolist()
            entry = Entry(name, self.edge, positions, header.mpp, notes=header.notes)
        except InvalidImageError as error:
            self._tiles.seek(start)
            self._tiles.truncate()
            entry = Entry(name, self.edge, [], reason=str(error))
        self.entries.append(entry)
        self._waiting.append(entry)
        if time.monotonic() - self._flushed > FLUSH_S and self._saving.done():
            self._begin_saving()

    def flush(self) -> None:
        """Bring tiles, and then the lines that speak of them, to the disk, and wait for it."""
        self._begin_saving()
        self._saving.result()

    def _begin_saving(self) -> None:
        self._saving.result()  # raises what the last one met
        self._tiles.flush()
        self._saving = self._saver.submit(self._save, self._waiting)
        self._waiting = []
        self._flushed = time.monotonic()

    def _save(self, entries: list[Entry]) -> None:
        os.fsync(self._tiles.fileno())
        self._journal.write(_lines(entries))
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def _safe_entries(self, names: list[str]) -> list[Entry]:
        """Return the entries whose tiles are all there; up to the first that is not of these images."""
        path = self.folder / TILES
        available = path.stat().st_size if path.exists() else 0
        safe: list[Entry] = []
        for entry, name in zip(read_entries(self.folder), names, strict=False):
            available -= len(entry.positions) * self.tile_bytes
            if (entry.name, entry.edge) != (name, self.edge) or available < 0:
                break
            safe.append(entry)
        return safe


def _lines(entries: list[Entry]) -> bytes:
    return "".join(json.dumps(vars(entry)) + "\n" for entry in entries).encode()


def _open_cut(path: Path, size: int) -> BinaryIO:
    """Open `path` to go on writing behind its first `size` bytes; what follows them is lost."""
    path.touch()
    file = path.open("r+b")
    file.truncate(size)
    file.seek(size)
    return file
