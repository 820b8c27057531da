"""The run folder: the only thing a job and those who watch it share. Imports no torch.

A job writes the folder, anybody who can see it reads it, on this machine or over a shared disk. Its files are named in
:mod:`napari_sdmae.runs.files`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal, cast, get_args

from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.io.regular_files import IrregularFileError, kind_of, open_regular, read_regular, require_kinds
from napari_sdmae.moved import renamed
from napari_sdmae.runs.files import RunConfig, RunFiles
from napari_sdmae.runs.metrics_log import MetricsReader
from napari_sdmae.runs.ownership.authorship import place_of, works_in
from napari_sdmae.runs.ownership.claiming import require_idle
from napari_sdmae.runs.ownership.job_numbers import Hold, RunFolderError, TakenOverError
from napari_sdmae.runs.ownership.leftovers import only_leftovers
from napari_sdmae.runs.status import HEARTBEAT_S, SILENCE_S, RunStatus, State, is_alive, parse_status, restarted

__all__ = [
    "HEARTBEAT_S",
    "SILENCE_S",
    "MetricsReader",
    "Request",
    "RunConfig",
    "RunFolder",
    "RunFolderError",
    "RunStatus",
    "State",
    "TakenOverError",
    "is_alive",
]

Request = Literal["stop", "pause", "cancel"]

LARGEST_STATUS = 1_000_000
LARGEST_REQUEST = 100


class RunFolder(RunFiles):
    """One run folder: how its run goes, which job owns it, and what that job is asked for.

    Parameters
    ----------
    path
        The folder; it need not exist yet.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._hold: Hold | None = None

    # --- status -------------------------------------------------------------------------------------------------

    def status(self) -> RunStatus | None:
        """Return the status as :meth:`read_status` does, and None also where it cannot be read."""
        try:
            return self.read_status()
        except RunFolderError:
            return None

    def read_status(self) -> RunStatus | None:
        """Return the status, with state ``interrupted`` where its job died, or works elsewhere as this is a copy; None: no run.

        Raises
        ------
        RunFolderError
            If there is a status that cannot be read, or is none.
        """
        status = self.written_status()
        died = status is not None and status.live and works_in(status, self.path) is False
        return status.model_copy(update={"state": "interrupted"}) if status and died else status

    def written_status(self) -> RunStatus | None:
        """Return the status as it was written, be its job alive or not; else as :meth:`read_status`."""
        try:
            return parse_status(read_regular(self.status_file, LARGEST_STATUS))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IrregularFileError as error:
            raise RunFolderError(str(error)) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise RunFolderError(f"{self.status_file} cannot be read: {reason}") from error

    def write_status(self, status: RunStatus) -> None:
        """Replace the status, so that a reader sees the old one or the new one, never a half.

        On a full disk it is written over the old one, which needs no space: a run that fails there must be able to say so.
        """
        text = status.model_dump_json(indent=1).encode()
        try:
            write_atomically(self.status_file, text)
        except OSError:
            if not self.status_file.exists():
                raise
            with os.fdopen(open_regular(self.status_file, os.O_RDWR), "r+b") as file:
                file.write(text)
                file.truncate()

    # --- whose it is ----------------------------------------------------------------------------------------------

    def claim(self, config: RunConfig, *, resume: bool, take_over: bool = False) -> RunStatus:
        """Make the folder this process's own, as a new run of `config` or to go on with one; return its first status.

        With `take_over` also where nobody can tell whether the job that had it still lives, as on another host: that job ends
        without a further word as soon as it finds the folder taken.

        Raises
        ------
        RunFolderError
            If a new run finds anything in the folder but a run that ended before it saved anything, if there is nothing to
            resume, if the settings are not those the run began with, or if another job works in it, or may do so.
        TakenOverError
            If another process claims it at this moment, and was quicker.
        """
        if not resume:
            self.require_free()
        elif changed := _changed_settings(self.read_config(), config):
            raise RunFolderError(
                f"{self.path} began with other settings ({', '.join(changed)}); resume it with its own "
                "config.yaml, or start a new run in another folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.check_kinds()
        number = 1 + require_idle(self.path, self.written_status, resume=resume, take_over=take_over)
        self._hold = Hold.take(self.path, number)
        try:
            return self._begin(config, number, resume)
        except BaseException:
            self._hold.give_back(self.path)
            self._hold = None
            raise

    def _begin(self, config: RunConfig, number: int, resume: bool) -> RunStatus:
        """Write the first status of the job that owns the folder by `number`, and of a new run the settings."""
        if not resume:
            self.require_free()  # another job may have come and gone since
        earlier = self.status() if resume else None
        self.control.unlink(missing_ok=True)
        status = RunStatus(state="preparing") if earlier is None else restarted(earlier)
        status = status.model_copy(update={"owner": number, **place_of(self.path)})
        try:
            if not resume:
                self._clear()
                write_atomically(self.config, config.to_yaml().encode())
            self.write_status(status)
        except OSError:
            if not resume:  # settings alone would be taken for somebody's files
                self.config.unlink(missing_ok=True)
            raise
        return status

    def check_owner(self) -> None:
        """Follow the folder of this job if it was moved, and make sure that it is still this job's.

        Raises
        ------
        TakenOverError
            If another job owns it now.
        """
        if self._hold is None:
            return
        if (place := self._hold.moved(self.path)) is not None:
            self._name(place)
        if self._hold.is_lost(self.path):
            raise TakenOverError(f"another process has taken over {self.path}: this one ends, and writes nothing more into it")

    @property
    def number(self) -> int:
        """The number under which this job owns the folder, 0 if it does not."""
        return self._hold.number if self._hold else 0

    def leave(self) -> None:
        """Follow the folder no longer: the job has ended."""
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    def require_free(self) -> None:
        """Refuse a folder with anything in it, but a run that made nothing: nothing is overwritten.

        Raises
        ------
        RunFolderError
            If it is not free.
        """
        if self._made_nothing():
            return
        if self.exists():
            raise RunFolderError(
                f"{self.path} holds a run already; `sdmae resume {self.path}` goes on with it, or choose another --output"
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunFolderError(f"{self.path} is not empty, and nothing is overwritten; choose another --output")

    def _made_nothing(self) -> bool:
        """Return whether the run in the folder ended before it saved anything, so that its name is free again."""
        if kind_of(self.status_file) is None:
            return self.path.is_dir() and only_leftovers(self.path)
        status, kept = self.status(), (self.model, *self.checkpoints_folder.glob("step-*"))
        ended = status is not None and status.state in ("failed", "stopped", "cancelled")
        return self.exists() and ended and not any(map(os.path.lexists, kept))

    def _clear(self) -> None:
        """Remove what such a run wrote about itself; whatever else lies in the folder stays."""
        for path in (self.command, self.environment, self.metrics_file, self.log, self.report, self.quarantine):
            path.unlink(missing_ok=True)
        for path in (self.previews_folder, self.tensorboard):
            shutil.rmtree(path, ignore_errors=True)

    # --- control ------------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Ask the job to end: ``stop`` and keep the model, ``pause``, or ``cancel``.

        Raises
        ------
        IrregularFileError
            If `control` is something else than a file.
        """
        require_kinds([self.control], [])
        write_atomically(self.control, request.encode())

    def asked(self) -> Request | None:
        """Return what a watcher asks for, or None."""
        try:
            word = read_regular(self.control, LARGEST_REQUEST).decode("utf-8", errors="replace").strip()
        except OSError:
            return None
        return cast(Request, word) if word in get_args(Request) else None


def _changed_settings(before: RunConfig, now: RunConfig) -> list[str]:
    """Return the names of the settings that differ, nested ones by group."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    return [name for name in new if name not in old or old[name] != new[name]]


__getattr__ = renamed(__name__, TakenOver="TakenOverError")
