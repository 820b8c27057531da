"""Everything in a folder of images, counted: what can be used, what is a picture of another kind, what cannot be reached."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from napari_sdmae.io.images.read import IMAGE_SUFFIXES
from napari_sdmae.io.regular_files import ENDLESS

SLIDES = {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".isyntax", ".qptiff", ".btf", ".tf8", ".tf2"}
MICROSCOPES = {".czi", ".lif", ".nd2", ".vsi", ".oir", ".zvi", ".lsm", ".dcm", ".dicom", ".zarr"}
CAMERAS = {".webp", ".jp2", ".jpx", ".j2k", ".jpf", ".jxl", ".jxr", ".avif", ".heic", ".heif", ".gif", ".psd", ".dng", ".ppm"}
OTHER_PICTURES = frozenset(SLIDES | MICROSCOPES | CAMERAS)
"""Ends of the names of pictures that are not read: slides, other formats of microscopes and of cameras."""
CONVERT = "convert them to TIFF or PNG to use them"
_HIDDEN = frozenset({"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "@eadir"})
"""What macOS, Windows and network disks add to a folder, beside names that start with a point; in small letters."""


class DataError(ValueError):
    """Data that cannot be used; the message says what came, what was expected and what to do (exit code 3)."""


class TileCacheError(DataError):
    """A tile cache that cannot be made or written, for want of space or of permission: the data is sound (exit code 1)."""


@dataclass(frozen=True)
class SourceFile:
    """A file: its path, its name below the source with forward slashes, and what tells that it changed."""

    path: Path
    name: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """What lies in a folder and the folders below it.

    Attributes
    ----------
    images
        Files that end as the images that are read do.
    others
        Files of whatever other kind.
    unreachable
        (name, reason) of such files that cannot be opened.
    other_pictures
        How many pictures of each other kind there are, by the end of the name.
    rest
        How many other files there are, by the end of the name.
    left_out
        Names of the folders that were left out as asked.
    """

    images: list[SourceFile] = field(default_factory=list)
    others: list[SourceFile] = field(default_factory=list)
    unreachable: list[tuple[str, str]] = field(default_factory=list)
    other_pictures: Counter[str] = field(default_factory=Counter)
    rest: Counter[str] = field(default_factory=Counter)
    left_out: set[str] = field(default_factory=set)

    @property
    def files(self) -> list[SourceFile]:
        """Files of all kinds, sorted by name."""
        return sorted([*self.images, *self.others], key=lambda file: file.name)

    @property
    def warnings(self) -> list[str]:
        """What must be said: pictures that are there and are not used."""
        if not self.other_pictures:
            return []
        return [f"left out, as pictures of these kinds are not read: {_counted(self.other_pictures)}; {CONVERT}"]

    @property
    def words(self) -> list[str]:
        """All that is there beside images, a line each."""
        return [*self.warnings, *([f"no pictures: {_counted(self.rest)}"] if self.rest else [])]


def walk_folder(root: Path, leave_out: Collection[str] = ()) -> Iterator[Listing]:
    """Yield the growing list of the files below the folder `root`, after each file; at the end the complete one, sorted.

    Hidden files, and folders called as in `leave_out`, are not looked at. Each file is asked for its status once, which on a
    network disk takes longer than all the rest. Links are followed; a folder that is reached twice, as in a loop of links, is
    read once.

    Raises
    ------
    DataError
        If a folder cannot be read: training on a part of the data without knowing of it would be worse.
    """
    found = Listing()
    left_out = {name.casefold() for name in leave_out}
    for folder, left, names in _walk(root, left_out):
        found.left_out.update(left)
        for name in names:
            _take(found, Path(folder, name), root)
            yield found
    found.images.sort(key=lambda file: file.name)
    yield found


def list_folder(root: Path, leave_out: Collection[str] = ()) -> Listing:
    """Return the complete list of :func:`walk_folder`, sorted by name."""
    return last(walk_folder(root, leave_out))


def holds_image(folder: Path, leave_out: Collection[str] = ()) -> bool:
    """Return whether an image is found in `folder` or below, without a link; reads each folder no further than to the first.

    Where a folder cannot be read, none is found: :func:`walk_folder` gives the reason.
    """
    left_out, folders = {name.casefold() for name in leave_out}, []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            end = Path(entry.name).suffix.lower()
            if is_hidden(entry.name) or end in OTHER_PICTURES or entry.name.casefold() in left_out:
                continue
            if end in IMAGE_SUFFIXES and entry.is_file(follow_symlinks=False):
                return True
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
    return any(holds_image(below, leave_out) for below in folders)


def list_file(path: Path) -> Listing:
    """Return a list of one image, whatever the end of its name."""
    file = _describe(path, path.parent)
    return Listing(images=[file]) if isinstance(file, SourceFile) else Listing(unreachable=[(path.name, file)])


def last(listings: Iterator[Listing]) -> Listing:
    """Return the complete one of growing lists."""
    return deque(listings, maxlen=1).pop()


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is one that people do not see, such as the ``._`` files of macOS."""
    return name.startswith(".") or name.casefold() in _HIDDEN


def relative_name(path: Path, root: Path) -> str:
    """Return the name of a file below `root` with forward slashes; also one that is no text can be printed."""
    return path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode()


def _take(found: Listing, path: Path, root: Path) -> None:
    end = path.suffix.lower()
    file = _describe(path, root)
    if end in OTHER_PICTURES:
        found.other_pictures[end] += 1
    elif end not in IMAGE_SUFFIXES:
        found.rest[end or "no end"] += 1
    elif isinstance(file, str):
        found.unreachable.append((relative_name(path, root), file))
    if isinstance(file, SourceFile):
        (found.images if end in IMAGE_SUFFIXES else found.others).append(file)


def _describe(path: Path, root: Path) -> SourceFile | str:
    """Return the file `path` below `root`, or why it cannot be opened."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "a link to a file that is not there"
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    if stat.S_ISREG(status.st_mode):
        return SourceFile(path, relative_name(path, root), status.st_size, status.st_mtime_ns)
    return "cannot be reached" if stat.S_ISDIR(status.st_mode) else ENDLESS


def _walk(root: Path, left_out: Collection[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder that is looked into, the names of the folders in it that are left out, and of its files."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, onerror=_refuse_folder, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        left = [name for name in folders if name.casefold() in left_out]
        pictures = [name for name in folders if Path(name).suffix.lower() in OTHER_PICTURES]  # .zarr: a folder that is a picture
        folders[:] = sorted(name for name in folders if not is_hidden(name) and name not in left and name not in pictures)
        yield folder, left, [name for name in [*names, *pictures] if not is_hidden(name)]


def _refuse_folder(error: OSError) -> None:
    raise DataError(
        f"the folder {error.filename} cannot be read ({error.strerror}): allow reading it, or leave it out by moving it "
        "or by a name that starts with a dot"
    ) from error


def _counted(kinds: Counter[str]) -> str:
    """Return numbers by kind, the most frequent first."""
    shown = ", ".join(f"{count:,} {end}" for end, count in kinds.most_common(8))
    return f"{shown}, …" if len(kinds) > 8 else shown
