"""Writing files and folders: they appear whole or not at all, and nothing that is not ours is replaced.

What may be replaced (docs/decisions/0130) stands in :func:`check_free` alone, and all that this program writes goes through
:func:`atomic_path` (one file or folder), :func:`atomic_files` (several that belong together) or :func:`write_atomically` (bytes).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_sdmae.io.leftovers import READY, REPLACED, REPLACING, dead_leftovers, remove, reserved
from napari_sdmae.io.own_zarr import METADATA, strange_in

_NO_FLUSHING = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF)
_cleared: set[Path] = set()


def check_free(path: Path, overwrite: bool, *, folder: bool = False) -> None:
    """Raise `FileExistsError` unless a file, or a `folder`, may be written to `path`.

    Free is what is not there, and an empty folder for a folder. With `overwrite` a file takes the place of a file, and a folder
    that of an OME-Zarr of labels that this program wrote and in which nothing else lies. Links, devices, pipes and sockets stay.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if folder and _is_empty(path, mode):
        return
    if reason := _not_replaceable(path, mode, folder):
        raise FileExistsError(f"{path} {reason}; nothing was changed, give another name")
    if not overwrite:
        raise FileExistsError(f"{path} is already there: allow overwriting or give another name")


def _is_empty(path: Path, mode: int) -> bool:
    """Tell whether there is a folder, and nothing in it but what dead processes left, which is cleared."""
    if not stat.S_ISDIR(mode):
        return False
    clear_leftovers(path)
    return not any(path.iterdir())


def _not_replaceable(path: Path, mode: int, folder: bool) -> str:
    """Return why nothing may take the place of `path`, empty if something may."""
    if stat.S_ISLNK(mode):
        return "is a link, which is neither followed nor replaced"
    if stat.S_ISDIR(mode):
        if not folder:
            return "is a folder, where a file is to be written"
        strange = strange_in(path)
        if strange == path:
            return "is already there, is not empty, and nothing is overwritten but OME-Zarr labels that napari-sdmae wrote"
        return f"holds {strange.relative_to(path)}, which napari-sdmae did not write" if strange else ""
    if not stat.S_ISREG(mode):
        return "is a device, pipe or socket and no file"
    return "is a file, where a folder is to be written" if folder else ""


@contextmanager
def atomic_path(path: Path, overwrite: bool = False, *, folder: bool = False, flush: bool = True) -> Iterator[Path]:
    """Give a path beside `path` to write a file or `folder` to; it becomes `path` when the block ends well.

    Whoever reads `path`, and any crash, sees the old or the new content, never half of one.

    Parameters
    ----------
    path
        What is written; folders above it are made.
    overwrite
        Whether what may be replaced is, see :func:`check_free`.
    folder
        Whether a folder is written.
    flush
        Whether it is brought to the disk first; without, a power cut may leave empty files.

    Raises
    ------
    FileExistsError
        If `path` is there and may not be replaced.
    OSError
        If it cannot be written; what was there before is then still there.
    """
    path = Path(path)
    check_free(path, overwrite, folder=folder)
    make_folder(path.parent)
    clear_leftovers(path.parent)
    if folder and path.is_dir() and not any(path.iterdir()):  # it may be where a disk is mounted, and have rights of its own
        with atomic_files(path, path.name, flush=flush) as inside:
            yield inside
        return
    temporary = reserved(path)
    try:
        yield temporary
        if flush:
            _flush(temporary)
        check_free(path, overwrite, folder=folder)
        _put(temporary, path)
        flush_folder(path.parent)
    except BaseException as error:
        remove(temporary)
        _name(error, path)
        raise


@contextmanager
def atomic_files(folder: Path, last: str, overwrite: bool = False, *, flush: bool = True) -> Iterator[Path]:
    """Give a folder to write files to that belong together; when the block ends well they are moved to `folder`, `last` at last.

    A process that ends before leaves nothing; one that ends while they are moved leaves the rest to the next call that writes in
    `folder`, which moves them first.

    Parameters
    ----------
    folder
        Where they go; made if needed. Sub-folders are kept.
    last
        The file that tells that all are there.
    overwrite
        Whether what may be replaced is, see :func:`check_free`.
    flush
        As of :func:`atomic_path`.

    Raises
    ------
    FileExistsError
        If one of them is there and may not be replaced.
    OSError
        If they cannot be written; what was there before is then still there.
    """
    make_folder(folder)
    clear_leftovers(folder)
    staging = reserved(folder / last)
    staging.mkdir()
    try:
        yield staging
        names = sorted(_parts(staging), key=lambda name: name == last)
        for name in names:
            check_free(folder / name, overwrite, folder=(staging / name).is_dir())
        if flush:
            _flush(staging)
        ready = reserved(folder / last, REPLACING if overwrite else READY)
        staging.rename(ready)
    except BaseException as error:
        remove(staging)
        _name(error, folder)
        raise
    _move_all(ready, folder, names)
    flush_folder(folder)


def write_atomically(path: Path, data: bytes, overwrite: bool = True) -> None:
    """Write a file that holds `data`, in the place of an older one, into a folder that is there; else as :func:`atomic_path`."""
    path = Path(path)
    if not path.parent.is_dir():  # a run that somebody removed does not come back
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    with atomic_path(path, overwrite) as temporary:
        temporary.write_bytes(data)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it; NotADirectoryError if one is a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"{folder} is a file or lies below one: give a folder") from None


def clear_leftovers(folder: Path) -> None:
    """Bring to an end what dead processes left in `folder`, once in the life of this process."""
    folder = folder.absolute()
    if folder in _cleared or not os.access(folder, os.R_OK | os.W_OK) or not folder.is_dir():
        return
    _cleared.add(folder)
    for path, kind, name in dead_leftovers(folder):
        with suppress(OSError):
            if kind == REPLACED and not os.path.lexists(folder / name):
                path.rename(folder / name)
            elif kind in (READY, REPLACING):
                _finish(path, folder, overwrite=kind == REPLACING)
            else:
                remove(path)


def _finish(ready: Path, folder: Path, overwrite: bool) -> None:
    """Move the files that a dead process had ready; if a place has been taken since, they stay where they are."""
    names = list(_parts(ready))
    for name in names:
        check_free(folder / name, overwrite, folder=(ready / name).is_dir())
    _move_all(ready, folder, names)


def flush_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system has such a call (not on Windows, nor on all shares)."""
    if os.name == "nt":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSHING:
            raise


def _name(error: BaseException, path: Path) -> None:
    """Let an error of the system speak of `path` instead of a temporary file, or of nothing."""
    if isinstance(error, OSError) and error.errno is not None:
        error.filename, error.filename2 = str(path), None


def _flush(path: Path) -> None:
    """Bring a file, or all files below a folder, to the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _flush(inner)
        flush_folder(path)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _parts(staging: Path, below: str = "") -> Iterator[str]:
    """Yield what is moved, by its path from `staging`: files and OME-Zarr folders."""
    for path in sorted((staging / below).iterdir()):
        name = f"{below}/{path.name}" if below else path.name
        if path.is_dir() and not (path / METADATA).exists():
            yield from _parts(staging, name)
        else:
            yield name


def _move_all(ready: Path, folder: Path, names: list[str]) -> None:
    """Move everything; after an error back to where it was unless something was replaced, and then the next call goes on."""
    moved: list[str] = []
    fresh = not any(os.path.lexists(folder / name) for name in names)
    try:
        for name in names:
            make_folder((folder / name).parent)
            _put(ready / name, folder / name)
            moved.append(name)
    except OSError:
        if fresh or not moved:
            for name in reversed(moved):
                (folder / name).rename(ready / name)
            remove(ready)
        raise
    remove(ready)


def _put(new: Path, path: Path) -> None:
    """Rename `new` to `path`, which may be replaced; a folder cannot be renamed onto another one, so that goes aside first."""
    if not path.is_dir():
        new.replace(path)
        return
    old = reserved(path, REPLACED)
    path.rename(old)
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    remove(old)
