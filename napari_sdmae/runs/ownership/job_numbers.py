"""Which job may write into a run folder: the one with the highest number. Imports no torch.

A job that begins or goes on with a run writes who it is into a folder aside and renames that to ``.owner/000007``, one more than
the number before. No system renames a folder onto one that is not empty: of several processes exactly one gets the number, also
on a network share, without locks and clocks. A job that lost the folder meanwhile finds a higher number than its own.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
import weakref
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from napari_sdmae.io.atomic import flush_folder, write_atomically
from napari_sdmae.io.regular_files import read_regular
from napari_sdmae.runs.ownership.authorship import UNKNOWN, Author, Text, place_of
from napari_sdmae.text.documents import DocumentError, parse_json

OWNERS = ".owner"
LARGEST = 100_000


class RunFolderError(ValueError):
    """The folder cannot be used as asked; the message says why and what to do."""


class TakenOverError(RunFolderError):
    """Another process owns the run folder now; nothing more may be written into it."""


class Owner(Author):
    """Who took a number; `token` is of this one claim."""

    number: int
    token: Text = ""


def latest_owner(run: Path) -> Owner | None:
    """Return who took the highest number, None where nobody ever did; whoever left nothing readable is unknown, not dead."""
    try:
        numbers = [int(path.name) for path in (run / OWNERS).iterdir() if path.name.isdecimal() and len(path.name) < 10]
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _read(run, max(numbers)) if numbers else None


def _read(run: Path, number: int) -> Owner:
    try:
        values = parse_json(read_regular(_place(run, number) / "process.json", LARGEST))
        return Owner.model_validate({**UNKNOWN, **values, "number": number})
    except (OSError, DocumentError, ValidationError, TypeError):
        return Owner.model_validate({**UNKNOWN, "number": number})


def _place(run: Path, number: int) -> Path:
    return run / OWNERS / f"{number:06d}"


class Hold:
    """A job's hold on its run folder: the number it took, and the folder itself, wherever it is moved to."""

    def __init__(self, run: Path, number: int) -> None:
        self.number = number
        self._handle: int | None = None
        if hasattr(os, "O_DIRECTORY"):  # not on Windows, where a folder in use cannot be moved
            self._handle = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._close = weakref.finalize(self, os.close, self._handle)

    @classmethod
    def take(cls, run: Path, number: int) -> Hold:
        """Take `number`, which exactly one of several processes gets.

        Raises
        ------
        TakenOverError
            If another one got it.
        """
        token = uuid.uuid4().hex
        aside = run / f".owner-{token}.tmp"
        try:
            aside.mkdir()
            owner = Owner(number=number, token=token, **place_of(run))  # type: ignore[arg-type]
            write_atomically(aside / "process.json", owner.model_dump_json(indent=1).encode())
            (run / OWNERS).mkdir(exist_ok=True)
            _rename(aside, run, owner)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return cls(run, number)

    def give_back(self, run: Path) -> None:
        """Give the number back, as if it had never been taken."""
        shutil.rmtree(_place(run, self.number), ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Look after the folder no longer."""
        if self._handle is not None:
            self._close()
            self._handle = None

    def is_lost(self, run: Path) -> bool:
        """Return whether another process took the next number."""
        return os.path.lexists(_place(run, self.number + 1))

    def moved(self, run: Path) -> Path | None:
        """Return where the folder is now if it is not at `run` any more, None if it is, or where nobody knows."""
        if self._handle is None:
            return None
        with suppress(OSError):
            if os.path.samestat(run.stat(), os.fstat(self._handle)):
                return None
        with suppress(OSError):
            place = _path_of(self._handle)
            if place is not None and os.path.samestat(place.stat(), os.fstat(self._handle)):
                return place
        return None


def _rename(aside: Path, run: Path, owner: Owner) -> None:
    """Give the folder `aside` its number."""
    try:
        aside.rename(_place(run, owner.number))
    except OSError:
        if _read(run, owner.number).token != owner.token:  # a network share may have renamed it and yet report a failure
            if latest_owner(run) is None:
                raise
            winner = _read(run, owner.number)
            raise TakenOverError(
                f"{run} was opened by another process at this moment (process {winner.pid} on {winner.host}); it goes on there"
            ) from None
    flush_folder(run / OWNERS)


def _path_of(handle: int) -> Path | None:
    """Return where the folder with this handle is now, where the system has an answer."""
    if sys.platform == "linux":
        return Path(f"/proc/self/fd/{handle}").readlink()
    if sys.platform == "darwin":
        import fcntl

        found = fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024))
        return Path(os.fsdecode(found.rstrip(b"\0")))
    return None
