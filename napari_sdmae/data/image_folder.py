"""The images of a source: which files there are, whether they changed, how large they are, and the tile they suggest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.listing import DataError, Listing, SourceFile, TileCacheError, holds_image, last, list_file, walk_folder
from napari_sdmae.humanize import size
from napari_sdmae.io.images.read import IMAGE_SUFFIXES, Header, InvalidImageError, read_header
from napari_sdmae.io.images.tiff_planes import ANY, Which
from napari_sdmae.io.regular_files import ENDLESS, is_endless

__all__ = ["DataError", "ReadableImage", "SourceFile", "Survey", "find_images", "fingerprint", "list_source", "survey", "which"]

DEFAULT_EDGE = 256
LARGEST_SMALL_TILE = 512
"""Square images up to this edge, in px, that make up most of a source are taken as tiles that somebody cut already."""

FORMAT = 1
"""Version of the tile cache; raise it when tiles, their order or the files of a cache change."""


class ReadableImage(NamedTuple):
    """An image file and what its header states."""

    file: SourceFile
    header: Header


@dataclass(frozen=True)
class Survey:
    """What the headers tell.

    Attributes
    ----------
    readable
        The images whose header can be read.
    unusable
        (name, reason) of the others.
    edge
        Edge of the tiles to cut, in px.
    """

    readable: list[ReadableImage]
    unusable: list[tuple[str, str]]
    edge: int


def find_images(source: Path, leave_out: Collection[str] = ()) -> list[SourceFile]:
    """Return the image files below the folder `source` (or `source` itself, if it is a file), sorted by name.

    Hidden files (also the ``._`` files of macOS), hidden folders, folders called as in `leave_out` and other kinds of file are
    left out; :func:`walk_source` counts them.

    Raises
    ------
    DataError
        If the source does not exist or holds no image, or a folder in it cannot be read: its images would be missed.
    """
    return list_source(source, leave_out).images


def list_source(source: Path, leave_out: Collection[str] = ()) -> Listing:
    """Return what :func:`find_images` does, and the count of everything that lies beside it."""
    return last(walk_source(source, leave_out))


def walk_source(source: Path, leave_out: Collection[str] = ()) -> Iterator[Listing]:
    """Yield the growing list of :func:`list_source`, so that progress can be shown; errors as of :func:`find_images`."""
    source = Path(source).expanduser()
    if not source.exists():
        raise DataError(f"no folder {source}: give the folder that holds the images")
    if is_endless(source):
        raise DataError(f"{source}: {ENDLESS}")
    listing = Listing()
    for listing in [list_file(source)] if source.is_file() else walk_folder(source, leave_out):
        yield listing
    refuse_no_images(source, listing, leave_out)


def refuse_no_images(source: Path, listing: Listing, leave_out: Collection[str] = ()) -> None:
    """Raise `DataError` if the complete `listing` of `source` holds no image; the message tells what lies there."""
    if not listing.images:
        without = f" without {', '.join(leave_out)}" if leave_out else ""
        missed = [f"{name}: {reason}" for name, reason in listing.unreachable[:3]]
        there = "; ".join(["", *listing.words, *missed])
        looked_for = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"no images in {source} or its sub-folders{without} (looked for {looked_for}){there}")


def require_images(source: Path, leave_out: Collection[str] = ()) -> None:
    """Raise as :func:`find_images` does; looks no further than to the first image."""
    source = Path(source).expanduser()
    if not (source.is_dir() and holds_image(source, leave_out)):
        next(listing for listing in walk_source(source, leave_out) if listing.images)


def missing_folders(listing: Listing, names: Collection[str]) -> list[str]:
    """Return those of `names` (in any case) by which no folder was left out of the list."""
    there = {name.casefold() for name in listing.left_out}
    return [name for name in names if name.casefold() not in there]


def which(settings: TilesConfig) -> Which:
    """Return which scene and plane of files that hold several are used."""
    return Which(settings.scene, settings.plane)


def fingerprint(files: list[SourceFile], settings: TilesConfig) -> str:
    """Return 16 hexadecimal digits that change with the files (name, size, time of change) and with how they are cut."""
    digest = hashlib.sha256(repr((FORMAT, settings.tile_px, settings.tissue_filter and settings.min_tissue)).encode())
    if which(settings) != ANY:
        digest.update(repr(tuple(which(settings))).encode())
    for file in files:
        digest.update(f"{file.name}\0{file.bytes}\0{file.mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def read_headers(files: list[SourceFile], which: Which = ANY) -> Iterator[ReadableImage | tuple[SourceFile, str]]:
    """Yield each file with what its header states, or with the reason why it cannot be used; about 8,000 files/s."""
    for file in files:
        try:
            yield ReadableImage(file, read_header(file.path, which))
        except InvalidImageError as error:
            yield file, str(error)


def survey(headers: Iterable[ReadableImage | tuple[SourceFile, str]], settings: TilesConfig) -> Survey:
    """Part usable from unusable files and choose the edge of the tiles."""
    readable, unusable = [], []
    for one in headers:
        if isinstance(one, ReadableImage):
            readable.append(one)
        else:
            unusable.append((one[0].name, one[1]))
    return Survey(readable, unusable, settings.tile_px or _own_edge([image.header.size for image in readable]))


def _own_edge(sizes: list[tuple[int, int]]) -> int:
    """Return the edge of the square tiles that are most of the images, or 256 px."""
    if not sizes:
        return DEFAULT_EDGE
    (height, width), count = Counter(sizes).most_common(1)[0]
    tiles = height == width and 16 <= height <= LARGEST_SMALL_TILE and 2 * count > len(sizes)
    return height if tiles else DEFAULT_EDGE


ALLOW_MORE = "--tiles.max-unusable"
"""The setting of pre-training that allows more unusable images."""


def refuse_unusable(unusable: list[tuple[str, str]], total: int, allowed: float, remedy: str) -> None:
    """Raise `DataError` if a larger fraction of the `total` images than `allowed` is `unusable` (name, reason).

    `remedy` says what can be done beside mending the files.
    """
    count = len(unusable)
    if count > allowed * total:
        examples = "; ".join(f"{name}: {reason}" for name, reason in unusable[:3])
        raise DataError(
            f"{count} of {total} images cannot be used, more than the {allowed:.0%} allowed ({remedy}): "
            f"{examples}{'; …' if count > 3 else ''}"
        )


def refuse_empty(tiles: int, images: int) -> None:
    """Raise `DataError` if no tile is left of `images` images."""
    if not tiles:
        raise DataError(
            f"none of the {images} images shows tissue: lower the least tissue (--tiles.min-tissue) "
            "or switch the tissue filter off (--tiles.no-tissue-filter)"
        )


def refuse_full(needed: int, free: int, root: Path) -> None:
    """Raise `TileCacheError` if `needed` bytes do not fit into the `free` ones in `root`."""
    if needed > free:
        raise TileCacheError(
            f"the tile cache needs about {size(needed)} in {root}, where {size(free)} are free: "
            "free some space, or choose another folder (--tiles.cache)"
        )
