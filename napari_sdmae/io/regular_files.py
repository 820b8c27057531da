"""Files that others may have exchanged: only regular files are read and written, through no link, and nothing is waited for.

A FIFO would halt whoever opens it, a link would lead a writer out of its folder, a device may do anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from napari_sdmae.humanize import size
from napari_sdmae.text.documents import MAX_TEXT_BYTES

KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
ENDLESS = "no file, but a device, a pipe or a socket"
AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class IrregularFileError(OSError):
    """A link, FIFO, socket, device or folder where a file is expected, or a file where a folder is; the message says which."""


def kind_of(path: Path) -> str | None:
    """Return what `path` is, without following a link (``a file``, ``a folder``, ``a FIFO`` …); None where there is nothing."""
    try:
        return KINDS.get(stat.S_IFMT(path.lstat().st_mode), "of an unknown kind")
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_regular(path: Path) -> bool:
    """Return whether `path` is a regular file itself, and not a link to one."""
    return kind_of(path) == "a file"


def is_endless(path: Path) -> bool:
    """Return whether `path`, or what it links to, is neither file nor folder: opening a pipe waits, a device never ends."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # not there, or not to be looked at: opening it tells which
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def require_kinds(files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Refuse what is there and is not a regular file, or a real folder.

    Raises
    ------
    IrregularFileError
        For the first of them.
    """
    for paths, expected in ((files, "a file"), (folders, "a folder")):
        for path in paths:
            if (kind := kind_of(path)) not in (None, expected):
                raise IrregularFileError(f"{path} is {kind}, and {expected} was expected: remove it, or put the real one there")


def open_regular(path: Path, flags: int) -> int:
    """Return a handle of the regular file `path`; `flags` as for :func:`os.open`, which may make it.

    Raises
    ------
    IrregularFileError
        If it is anything else.
    OSError
        If it cannot be opened.
    """
    require_kinds([path], [])
    handle = os.open(path, flags | AT_ONCE, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # exchanged in the meantime
        os.close(handle)
        raise IrregularFileError(f"{path} is not a regular file any more: remove it")
    return handle


def read_regular(path: Path, largest: int = MAX_TEXT_BYTES) -> bytes:
    """Return the content of the regular file `path`, of `largest` bytes or less; errors as of :func:`open_regular`."""
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise IrregularFileError(f"{path} is larger than {size(largest)}, which is too much for this kind of file")
    return data


def read_tail(path: Path, most: int) -> bytes:
    """Return the last `most` bytes of the regular file `path`; errors as of :func:`open_regular`."""
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)


def append_regular(path: Path, text: str) -> None:
    """Append `text` to the regular file `path`, which is made if it is not there; errors as of :func:`open_regular`."""
    with os.fdopen(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        file.write(text.encode("utf-8", errors="backslashreplace"))
