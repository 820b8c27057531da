"""Tiles decoded once: one file of uint8 pixels that opens in milliseconds and is read as memory.

A cache lives in ``ROOT/tiles-FINGERPRINT``:

    tiles.u8       the tiles, one after the other, (N, edge, edge, 3)
    journal.jsonl  one line per image, in the order of their names: what became of it
    cache.json     written last: its presence says that the cache is complete
    lock           held by the process that fills the cache; the system frees it when that process dies

Filling goes on where it was interrupted: a line enters the journal only after its tiles are safe on the disk, and what lies
behind the last line is cut off and decoded again.

The fingerprint covers names, sizes and times of the images, the settings that change tiles, and a format version, but not the
path: a moved folder keeps its cache. About every two seconds the tiles are flushed, then the journal. Tests kill the process
at random moments and fill the disk; each ends with the bytes of an uninterrupted cache.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, with_config

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import (
    ALLOW_MORE,
    DataError,
    Survey,
    find_images,
    read_headers,
    refuse_empty,
    refuse_full,
    refuse_unusable,
    survey,
    walk_source,
    which,
)
from napari_sdmae.data.listing import Listing, TileCacheError
from napari_sdmae.data.notes import Note, Variety, gather, of_concern, warnings
from napari_sdmae.data.tiles.cache_folders import COMPLETE, LOCK, cache_folder
from napari_sdmae.data.tiles.decode import decode_in_order
from napari_sdmae.data.tiles.estimate import sample_tiles
from napari_sdmae.data.tiles.grid import tile_count
from napari_sdmae.data.tiles.journal import TILES, Entry, Journal, count_entries, read_entries
from napari_sdmae.io.atomic import write_atomically

PROGRESS_S = 0.2
"""Least time between two reports of progress, in seconds."""
SAMPLED_TILES = 1000
"""Tiles looked at to tell whether they show anything: less than a second."""
SAME_SCALE = 1.1
"""Images whose µm/px differ by no more than this factor have one scale."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` images, 0 while that is not known; `message` tells what is being done."""

    done: int
    total: int
    message: str


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Summary:
    """What a complete cache holds: edge of its tiles in px, their number, all images, their µm/px, the unusable ones, notes."""

    edge: int
    tiles: int
    images: int
    mpps: list[float]
    unusable: list[tuple[str, str]]
    notes: list[Note] = field(default_factory=list)


SUMMARY = TypeAdapter(Summary)


@dataclass(frozen=True)
class TileCache:
    """A complete cache.

    Attributes
    ----------
    tiles
        uint8 RGB, (N, edge, edge, 3), mapped from the disk. A change to it stays in memory.
    mpp
        µm/px given in the settings, or else stated by the files; None if neither, or if the files differ.
    quarantine
        (name, reason) of the images that cannot be used.
    fingerprint
        Changes with the images and with how they are cut.
    folder
        Where the cache lies.
    notes
        What must be known of the images.
    listing
        What lies in the source, where the cache was just prepared.
    """

    tiles: NDArray[np.uint8]
    mpp: float | None
    quarantine: list[tuple[str, str]]
    fingerprint: str
    folder: Path
    notes: list[Note] = field(default_factory=list)
    listing: Listing = field(default_factory=Listing)

    @property
    def warnings(self) -> list[str]:
        """What a run must say of its folder, images and tiles; of many tiles, some are looked at."""
        return [*self.listing.warnings, *warnings(self.notes), *variety_of(self.tiles)]

    @cached_property
    def _entries(self) -> list[Entry]:
        return read_entries(self.folder)

    @cached_property
    def files(self) -> list[str]:
        """Names of the images, to which `records` point."""
        return [entry.name for entry in self._entries]

    @cached_property
    def records(self) -> NDArray[np.int32]:
        """Where each tile comes from: index in `files`, row and column in px; int32 (N, 3)."""
        rows = [(index, *position) for index, entry in enumerate(self._entries) for position in entry.positions]
        return np.array(rows, np.int32).reshape(-1, 3)


def prepare_tiles(source: Path, settings: TilesConfig) -> Generator[Progress, None, TileCache]:
    """Fill the cache of `source`, or wait while another process does; ending early loses at most the last seconds.

    Yields
    ------
    Progress
        At most five times a second.

    Returns
    -------
    TileCache
        Other processes get it from :func:`open_folder` afterwards.

    Raises
    ------
    DataError
        If there are no images, too many unusable ones, no tissue, or not enough space on the disk.
    """
    listing = yield from _list(source, settings)
    folder = cache_folder(listing.images, settings)
    summary = read_summary(folder)
    if summary is None:
        _make_folder(folder)
        lock = FileLock(folder / LOCK, thread_local=False)
        try:
            yield from _wait_for(lock, folder, len(listing.images))
            summary = read_summary(folder) or (yield from _fill(folder, listing, settings))
        finally:
            lock.release()
    yield Progress(len(listing.images), len(listing.images), "the tiles are ready")
    return replace(_open(folder, summary, settings), listing=listing)


def open_cache(source: Path, settings: TilesConfig) -> TileCache:
    """Open the complete cache of `source`.

    Raises
    ------
    DataError
        If it is not complete (run :func:`prepare_tiles`), or its images cannot be trained on.
    """
    folder = cache_folder(find_images(source, settings.leave_out), settings)
    if read_summary(folder) is None:
        raise DataError(f"the tiles of {source} are not decoded yet, or its images changed: prepare them first")
    return open_folder(folder, settings)


def open_folder(folder: Path, settings: TilesConfig) -> TileCache:
    """Open the complete cache in `folder`; its images are not looked for.

    Raises
    ------
    DataError
        If it is not complete, or its images cannot be trained on.
    """
    summary = read_summary(folder)
    if summary is None:
        raise DataError(f"{folder} holds no complete tile cache: start again, which fills it")
    return _open(folder, summary, settings)


def _list(source: Path, settings: TilesConfig) -> Generator[Progress, None, Listing]:
    """List the images, the one time that the folder is walked in a start."""
    clock, listing = _Clock(), Listing()
    for listing in walk_source(source, settings.leave_out):
        if clock.due():
            yield Progress(len(listing.images), 0, "listing the images")
    return listing


def _fill(folder: Path, listing: Listing, settings: TilesConfig) -> Generator[Progress, None, Summary]:
    clock, files, headers = _Clock(), listing.images, []
    for header in read_headers(files, which(settings)):
        headers.append(header)
        if clock.due():
            yield Progress(len(headers), len(files), "reading the sizes of the images")
    found = survey(headers, settings)
    found.unusable.extend(listing.unreachable)
    refuse_unusable(found.unusable, len(files) + len(listing.unreachable), settings.max_unusable, ALLOW_MORE)
    _check_space(folder, found, settings)
    try:
        with Journal(folder, found.edge, [image.file.name for image in found.readable]) as journal:
            for file, decode in decode_in_order(found.readable[len(journal.entries) :], found.edge, settings):
                journal.add(file.name, decode)
                if clock.due():
                    yield Progress(len(journal.entries), len(files), "decoding the images")
    except OSError as error:
        raise TileCacheError(
            f"the tile cache in {folder} cannot be written ({error.strerror}): free some space and start again, "
            "which goes on from here, or choose another folder (--tiles.cache)"
        ) from error
    return _finish(folder, found, journal.entries)


def _finish(folder: Path, found: Survey, entries: list[Entry]) -> Summary:
    mpps = sorted({entry.mpp for entry in entries if entry.mpp})
    unusable = sorted([*found.unusable, *((entry.name, entry.reason) for entry in entries if entry.reason)])
    tiles = sum(len(entry.positions) for entry in entries)
    notes = gather((entry.name, entry.notes) for entry in entries)
    summary = Summary(found.edge, tiles, len(entries) + len(found.unusable), mpps, unusable, notes)
    write_atomically(folder / COMPLETE, json.dumps(asdict(summary), indent=1).encode())
    return summary


def read_summary(folder: Path) -> Summary | None:
    """Return what the complete cache in `folder` holds, or None if it is not complete or cannot be understood."""
    try:
        return SUMMARY.validate_json((folder / COMPLETE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # not there, broken, or written by a version with another format
        return None


def _open(folder: Path, summary: Summary, settings: TilesConfig) -> TileCache:
    quarantine = [(name, reason) for name, reason in summary.unusable]
    refuse_unusable(quarantine, summary.images, settings.max_unusable, ALLOW_MORE)
    refuse_empty(summary.tiles, summary.images)
    tiles = tiles_in(folder, summary)
    mpp = settings.mpp or common_mpp(summary.mpps)
    return TileCache(tiles, mpp, quarantine, folder.name.removeprefix("tiles-"), folder, of_concern(summary.notes, settings.mpp))


def tiles_in(folder: Path, summary: Summary) -> NDArray[np.uint8]:
    """Return the tiles of a complete cache, uint8 (N, E, E, 3), mapped from the disk; a change to them stays in memory."""
    shape = (summary.tiles, summary.edge, summary.edge, 3)
    return np.memmap(folder / TILES, np.uint8, mode="c", shape=shape) if summary.tiles else np.zeros(shape, np.uint8)


def variety_of(tiles: NDArray[np.uint8]) -> list[str]:
    """Return what :class:`~napari_sdmae.data.notes.Variety` says of tiles (N, E, E, 3), of many of every n-th."""
    variety = Variety()
    variety.add(tiles[:: max(1, -(-len(tiles) // SAMPLED_TILES))])
    return variety.warnings


def common_mpp(mpps: list[float]) -> float | None:
    """Return the median of µm/px that agree within 10 %, else None."""
    agree = bool(mpps) and max(mpps) <= SAME_SCALE * min(mpps)
    return float(np.median(mpps)) if agree else None


def _check_space(folder: Path, found: Survey, settings: TilesConfig) -> None:
    """Refuse early when the tiles will not fit; what is there already counts as free."""
    written = folder / TILES
    free = shutil.disk_usage(folder).free + (written.stat().st_size if written.exists() else 0)
    tile = found.edge**2 * 3
    needed = tile * sum(tile_count(*image.header.size, found.edge) for image in found.readable)
    if needed > free and settings.tissue_filter:  # an upper bound: look how much of it is background
        needed = tile * sample_tiles(found, settings).tiles
    refuse_full(needed, free, folder.parent)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TileCacheError(
            f"the folder {folder} for the tile cache cannot be made ({error.strerror}): choose another one (--tiles.cache)"
        ) from error


def _wait_for(lock: FileLock, folder: Path, total: int) -> Iterator[Progress]:
    """Take the lock; while another process has it, report how far it is."""
    while True:
        try:
            lock.acquire(timeout=0)
            return
        except Timeout:
            yield Progress(count_entries(folder), total, "another process decodes these images: waiting for it")
            time.sleep(PROGRESS_S)


class _Clock:
    """Says when it is time to report again."""

    def __init__(self) -> None:
        self._last = 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < PROGRESS_S:
            return False
        self._last = now
        return True
