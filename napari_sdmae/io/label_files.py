"""What all label formats share: the error of unusable files, and writing aside and renaming, for files and folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_sdmae.io.files import flush_folder
from napari_sdmae.io.images import UnusableImage


class UnusableLabels(UnusableImage):
    """A file that cannot be read as labels; the message is the reason, without the file's name."""


@contextmanager
def aside(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a path beside `path` to write a file or folder to; it becomes `path` when the block ends well.

    Whoever reads `path`, and any crash, sees the old or the new content, never half of one.

    Raises
    ------
    FileExistsError
        If `path` is there and may not be overwritten.
    OSError
        If it cannot be written; what was there before is then still there.
    """
    check_free(path, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"{path.parent} is a file or lies below one: give a folder") from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise
    flush_folder(path.parent)


def check_free(path: Path, overwrite: bool) -> None:
    """Raise `FileExistsError` when `path` is there and may not be overwritten."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is already there: allow overwriting or give another name")


def _replace(temporary: Path, path: Path) -> None:
    if temporary.is_file():
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    if not path.is_dir():
        temporary.replace(path)
        return
    old = path.with_name(f".{path.name}.{os.getpid()}.old")  # a folder cannot be renamed onto another one
    path.rename(old)
    try:
        temporary.rename(path)
    except OSError:
        old.rename(path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
