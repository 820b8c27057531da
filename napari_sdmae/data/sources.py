"""The images of a source: which files there are, whether they changed, how large they are, and the tile they suggest."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_sdmae.config import TilesConfig
from napari_sdmae.io.images import IMAGE_SUFFIXES, UnusableImage, image_size

DEFAULT_EDGE = 256
LARGEST_SMALL_TILE = 512
"""Square images up to this edge, in px, that make up most of a source are taken as tiles that somebody cut already."""

FORMAT = 1
"""Version of the tile cache; raise it when tiles, their order or the files of a cache change."""


class DataError(ValueError):
    """Data that cannot be used; the message says what came, what was expected and what to do (exit code 3)."""


@dataclass(frozen=True)
class SourceFile:
    """An image file: its path below the source with forward slashes, and what tells that it changed."""

    path: Path
    name: str
    bytes: int
    mtime_ns: int


Header = tuple[SourceFile, tuple[int, int] | str]


@dataclass(frozen=True)
class Survey:
    """What the headers tell.

    Attributes
    ----------
    readable
        (file, height, width) of the images whose header can be read; sizes in px.
    unusable
        (name, reason) of the others.
    edge
        Edge of the tiles to cut, in px.
    """

    readable: list[tuple[SourceFile, int, int]]
    unusable: list[tuple[str, str]]
    edge: int


def find_images(source: Path, leave_out: Collection[str] = ()) -> list[SourceFile]:
    """Return the image files below the folder `source` (or `source` itself, if it is a file), sorted by name.

    Hidden files (also the ``._`` files of macOS), hidden folders, folders called as in `leave_out` and other kinds of file are
    left out. Links are followed; a folder that is reached twice, as in a loop of links, is read once.

    Raises
    ------
    DataError
        If the source does not exist or holds no image, or a folder in it cannot be read: its images would be missed.
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise DataError(f"no folder {source}: give the folder that holds the images")
    paths = [source] if source.is_file() else _image_paths(source, leave_out)
    root = source.parent if source.is_file() else source
    files = [_describe(path, root) for path in paths if path.is_file()]
    if not files:
        without = f" without {', '.join(leave_out)}" if leave_out else ""
        raise DataError(f"no images in {source} or its sub-folders{without} (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
    return sorted(files, key=lambda file: file.name)


def missing_folders(source: Path, names: Collection[str]) -> list[str]:
    """Return those of `names` (in any case) by which :func:`find_images` leaves no folder of `source` out."""
    there = {name.casefold() for _, left, _ in _walk(source.expanduser(), names) for name in left} if names else set()
    return [name for name in names if name.casefold() not in there]


def fingerprint(files: list[SourceFile], settings: TilesConfig) -> str:
    """Return 16 hexadecimal digits that change with the files (name, size, time of change) and with how they are cut."""
    digest = hashlib.sha256(repr((FORMAT, settings.tile_px, settings.tissue_filter and settings.min_tissue)).encode())
    for file in files:
        digest.update(f"{file.name}\0{file.bytes}\0{file.mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def read_headers(files: list[SourceFile]) -> Iterator[Header]:
    """Yield each file with its (height, width) in px, or with the reason why it cannot be used; about 8,000 files/s."""
    for file in files:
        try:
            yield file, image_size(file.path)
        except UnusableImage as error:
            yield file, str(error)


def survey(headers: Iterable[Header], settings: TilesConfig) -> Survey:
    """Part usable from unusable files and choose the edge of the tiles."""
    readable, unusable = [], []
    for file, found in headers:
        if isinstance(found, str):
            unusable.append((file.name, found))
        else:
            readable.append((file, *found))
    return Survey(readable, unusable, settings.tile_px or _own_edge([(height, width) for _, height, width in readable]))


def _own_edge(sizes: list[tuple[int, int]]) -> int:
    """Return the edge of the square tiles that are most of the images, or 256 px."""
    if not sizes:
        return DEFAULT_EDGE
    (height, width), count = Counter(sizes).most_common(1)[0]
    tiles = height == width and 16 <= height <= LARGEST_SMALL_TILE and 2 * count > len(sizes)
    return height if tiles else DEFAULT_EDGE


def _image_paths(root: Path, leave_out: Collection[str]) -> list[Path]:
    return [
        Path(folder, name)
        for folder, _, names in _walk(root, leave_out)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
    ]


def _walk(root: Path, leave_out: Collection[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder that is looked into, the names of the folders in it that are left out, and of its files."""
    left_out = {name.casefold() for name in leave_out}
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, onerror=_refuse_folder, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        left = [name for name in folders if name.casefold() in left_out]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in left)
        yield folder, left, names


def _refuse_folder(error: OSError) -> None:
    raise DataError(
        f"the folder {error.filename} cannot be read ({error.strerror}): allow reading it, or leave it out by moving it "
        "or by a name that starts with a point"
    ) from error


def _describe(path: Path, root: Path) -> SourceFile:
    status = path.stat()
    name = path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode()  # names that are no text can be printed
    return SourceFile(path, name, status.st_size, status.st_mtime_ns)


def files_below(root: Path) -> list[SourceFile]:
    """Return all files below the folder `root` that are not hidden, of whatever kind, sorted by name.

    Raises
    ------
    DataError
        If a folder in it cannot be read.
    """
    paths = [Path(folder, name) for folder, _, names in _walk(root, ()) for name in names if not name.startswith(".")]
    return sorted((_describe(path, root) for path in paths if path.is_file()), key=lambda file: file.name)
