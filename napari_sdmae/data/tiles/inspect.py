"""A look through the images before training: what is there, what cannot be used, and what it will take."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import (
    ALLOW_MORE,
    DataError,
    list_source,
    read_headers,
    refuse_empty,
    refuse_full,
    refuse_unusable,
    survey,
    which,
)
from napari_sdmae.data.notes import of_concern
from napari_sdmae.data.tiles.cache import common_mpp, read_summary, tiles_in, variety_of
from napari_sdmae.data.tiles.cache_folders import cache_folder, cache_root
from napari_sdmae.data.tiles.estimate import sample_tiles
from napari_sdmae.data.tiles.grid import tile_count
from napari_sdmae.humanize import several, size
from napari_sdmae.io.images.scale import is_doubt


@dataclass(frozen=True)
class Inspection:
    """What was found; sizes in bytes.

    Attributes
    ----------
    images
        Images that can be used, as far as they were looked at.
    unusable
        (name, reason) of those that cannot.
    tiles
        Tiles after the tissue filter.
    most_tiles
        Tiles before the tissue filter.
    estimated
        Whether only some images were decoded: `tiles` is then an estimate, and more files may turn out unusable.
    tile_px
        Edge of the tiles.
    mpp
        µm/px from the settings or the files; None if unknown or mixed.
    mpps
        Smallest and largest µm/px that the files looked at state; None if none does.
    tile_bytes
        Space for the decoded tiles, on the disk and, as far as there is room, in memory.
    free_disk, free_memory
        Space where the tiles would be kept, and memory of this machine.
    cached
        Whether the tiles are decoded already.
    problem
        Why a run would refuse to start; empty if it would not.
    notes
        What else lies in the folder, and what must be known of the images, a line each.
    warnings
        What a run would warn of.
    """

    images: int
    unusable: list[tuple[str, str]]
    tiles: int
    most_tiles: int
    estimated: bool
    tile_px: int
    mpp: float | None
    mpps: tuple[float, float] | None
    tile_bytes: int
    free_disk: int
    free_memory: int
    cached: bool
    problem: str
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return a few lines for people."""
        about, tiles = "about " if self.estimated else "", several(self.tiles, "tile", "tiles")
        lines = [
            f"{several(self.images, 'image', 'images')} can be used, {len(self.unusable):,} cannot",
            f"{about}{tiles} of {self.tile_px} px with tissue ({self.most_tiles:,} with background)",
            f"scale: {self._scale()}",
            f"tiles: {self._space()}",
        ]
        if self.estimated:
            lines.append("only some images were decoded: the number of tiles is an estimate, and more files may be unusable")
        lines += [*self.notes, *(f"warning: {one}" for one in self.warnings)]
        return "\n".join([*lines, f"cannot start: {self.problem}"] if self.problem else lines)

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as plain values, for JSON."""
        return asdict(self)

    def _scale(self) -> str:
        if self.mpp:
            return f"{self.mpp:.3g} µm/px"
        if self.mpps:
            return f"the files differ, {self.mpps[0]:.3g} to {self.mpps[1]:.3g} µm/px: one scale per run works best"
        return "stated, and not used: see below" if any(map(is_doubt, self.notes)) else "not stated in the files"

    def _space(self) -> str:
        if self.cached:
            return f"{size(self.tile_bytes)}, decoded already; {size(self.free_memory)} of memory free"
        return f"{size(self.tile_bytes)} on the disk ({size(self.free_disk)} free), {size(self.free_memory)} of memory free"


def inspect(source: Path, settings: TilesConfig) -> Inspection:
    """Look through the images of `source`; decodes all of a small source, and some of a large one, in a few seconds.

    Parameters
    ----------
    source
        Folder of images, or one image.
    settings
        How the images would be cut into tiles.

    Raises
    ------
    DataError
        If there is no such folder or no image in it.
    """
    listing = list_source(source, settings.leave_out)
    files = listing.images
    root = cache_root(settings)
    ready = read_summary(cache_folder(files, settings))
    found = survey(read_headers(files, which(settings)), settings)
    found.unusable.extend(listing.unreachable)
    number = len(files) + len(listing.unreachable)
    most = sum(tile_count(*image.header.size, found.edge) for image in found.readable)
    if ready:
        tiles, mpps, unusable, complete = ready.tiles, ready.mpps, [(name, reason) for name, reason in ready.unusable], True
        notes, told = ready.notes, variety_of(tiles_in(cache_folder(files, settings), ready))
    else:
        sample = sample_tiles(found, settings)
        tiles, mpps, unusable, complete = sample.tiles, sample.mpps, sorted(found.unusable + sample.unusable), sample.complete
        notes, told = sample.notes, sample.warnings
    space, free = found.edge**2 * 3 * tiles, shutil.disk_usage(_existing(root)).free
    return Inspection(
        images=number - len(unusable),
        unusable=unusable,
        tiles=tiles,
        most_tiles=most,
        estimated=not complete,
        tile_px=found.edge,
        mpp=settings.mpp or common_mpp(mpps),
        mpps=(min(mpps), max(mpps)) if mpps else None,
        tile_bytes=space,
        free_disk=free,
        free_memory=psutil.virtual_memory().available,
        cached=ready is not None,
        problem=_problem(number, unusable, tiles, 0 if ready else space, free, root, settings),
        notes=[*listing.words, *(note.words for note in of_concern(notes, settings.mpp))],
        warnings=told,
    )


def _problem(
    images: int, unusable: list[tuple[str, str]], tiles: int, space: int, free: int, root: Path, settings: TilesConfig
) -> str:
    """Return why a run would refuse these images, or an empty text."""
    try:
        refuse_unusable(unusable, images, settings.max_unusable, ALLOW_MORE)
        refuse_empty(tiles, images)
        refuse_full(space, free, root)
    except DataError as error:
        return str(error)
    return ""


def _existing(folder: Path) -> Path:
    """Return `folder` or the nearest folder above it that exists, on whose disk it would be made."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
