"""Which process writes into a run folder, and whether that process still works in it. Imports no torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from napari_sdmae.io.processes import ProcessIdentity, boot_id, start_token
from napari_sdmae.text.printable import printable

LONGEST = 4000
"""Letters of one text in a run folder that are kept."""

Text = Annotated[str, AfterValidator(lambda text: printable(text[:LONGEST]))]
"""Text of a file that anybody may have written: safe to be shown."""


class Author(BaseModel):
    """A process, and the folder it works in; by default this process.

    `folder` is the inode of the run folder and `path` where it is, by which a copy is known from the run that a job works in.
    Runs of version 1 have neither, nor `boot` and `start` (see :class:`~napari_sdmae.io.processes.ProcessIdentity`).
    """

    model_config = ConfigDict(frozen=True)

    host: Text = Field(default_factory=platform.node)
    pid: int = Field(default_factory=os.getpid, ge=0, lt=2**31)
    boot: Text = Field(default_factory=boot_id)
    start: Text = Field(default_factory=lambda: start_token(os.getpid()) or "")
    folder: int = Field(default=0, ge=0)
    path: Text = ""

    def is_me(self) -> bool:
        """Return whether this very process is meant."""
        return _identity(self) == ProcessIdentity.current()


UNKNOWN = {"host": "", "pid": 0, "boot": "", "start": ""}
"""What a file says that does not say which process wrote it: never this one."""


def place_of(run: Path) -> dict[str, int | str]:
    """Return the fields of :class:`Author` that say where it works."""
    return {"folder": run.stat().st_ino, "path": os.path.realpath(run)}


def lives(author: Author) -> bool | None:
    """Return whether the process lives; None where that cannot be told, as on another host or in another container.

    Of version 1 there is the process id alone, which is used again by others: a living process that looks like a job of ours
    counts as alive, any other Python as unknown.
    """
    if author.start:
        return _identity(author).is_alive()
    return None if author.host != platform.node() else _looks_like_a_job(author.pid)


def works_in(author: Author, run: Path) -> bool | None:
    """Return whether the process lives and works in the folder `run`, which may be a mere copy of its own; None: unknown."""
    alive = lives(author)
    return False if alive and is_copy(author, run) else alive


def is_copy(author: Author, run: Path) -> bool:
    """Return whether `run` is another folder than the one that `author` writes of itself to work in.

    A folder that was renamed keeps its inode, and where a file system has no lasting inodes, the job keeps `path` up to date.
    """
    try:
        other = bool(author.folder) and run.stat().st_ino != author.folder
    except OSError:
        return False
    try:
        return other and not Path(author.path).samefile(run)
    except OSError:  # it is not there any more
        return other


def _identity(author: Author) -> ProcessIdentity:
    return ProcessIdentity(author.host, author.boot, author.pid, author.start)


def _looks_like_a_job(pid: int) -> bool | None:
    try:
        process = psutil.Process(pid)
        words = [] if process.status() == psutil.STATUS_ZOMBIE else process.cmdline()
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return None
    if any("napari_sdmae" in word or Path(word).stem == "sdmae" for word in words):
        return True
    return None if words and "python" in words[0].lower() else False
