"""Whether a run folder is free to be worked in, or a job works in it, or nobody can tell. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from napari_sdmae.runs.ownership.authorship import UNKNOWN, Author, works_in
from napari_sdmae.runs.ownership.job_numbers import RunFolderError, latest_owner
from napari_sdmae.runs.status import HEARTBEAT_S, RunStatus

LISTEN_S = 3 * HEARTBEAT_S
"""So long is a job that nobody can see listened to before its run is taken over."""
LOOK_S = 0.1


def require_idle(run: Path, read: Callable[[], RunStatus | None], *, resume: bool, take_over: bool) -> int:
    """Return the number of the job that last owned `run`, 0 where none did, if it is known to have ended.

    Parameters
    ----------
    run
        The run folder.
    read
        Reads its status; a ValueError means that it has one which nobody can read.
    resume
        Whether the run shall go on, for what the messages advise.
    take_over
        Also return the number where nobody can tell whether the job still works, unless its heart is seen to beat.

    Raises
    ------
    RunFolderError
        If a job works in the folder, or nobody can tell, or its status is closed to this user.
    """
    owner = latest_owner(run)
    unknown: Author | None = None
    try:
        status = read()
    except ValueError as error:
        if isinstance(error.__cause__, PermissionError):  # another user's run: not ours to go on with
            raise
        status, unknown = None, (None if owner else Author.model_validate(UNKNOWN))
    working = [status] if status is not None and status.live else []
    if owner is not None and (status is None or status.owner != owner.number):
        working.append(owner)  # type: ignore[arg-type]
    for author in working:
        alive = False if author.is_me() else works_in(author, run)
        if alive:
            raise RunFolderError(_in_use(run, author))
        unknown = author if alive is None else unknown
    if unknown is not None:
        _require_silence(run, read, unknown, resume=resume, take_over=take_over)
    return max(owner.number if owner else 0, status.owner if status else 0)


def _in_use(run: Path, author: Author) -> str:
    who = f"process {author.pid} on {author.host}"
    if isinstance(author, RunStatus):
        return f"{run} is in use by {who}; end that first: sdmae pause {run}"
    return f"{run} is being opened by {who} at this moment; try again"


def _require_silence(run: Path, read: Callable[[], RunStatus | None], author: Author, *, resume: bool, take_over: bool) -> None:
    """Refuse a folder of which nobody can tell whether `author` works in it, unless it is to be taken over and is silent."""
    who = f"process {author.pid} on {author.host}" if author.pid else "the job that had it"
    if not take_over:
        heard = f", last heard {author.last_heard}" if isinstance(author, RunStatus) else ""
        advice = f"sdmae resume {run} --take-over" if resume else "choose another --output"
        raise RunFolderError(
            f"it cannot be told from here whether {who} still works in {run}{heard}: "
            f"end it there (sdmae pause {run}), or if it has surely ended: {advice}"
        )
    if _is_heard(read):
        raise RunFolderError(f"{run} is in use by {who}: its heartbeat goes on; end that first: sdmae pause {run}")


def _is_heard(read: Callable[[], RunStatus | None]) -> bool:
    """Return whether the status changes while one looks."""
    seen: set[object] = set()
    end = time.monotonic() + LISTEN_S
    while time.monotonic() < end and len(seen) < 2:
        try:
            status = read()
            seen.add((status.owner, status.beat, status.heartbeat) if status else None)
        except ValueError:
            pass
        time.sleep(LOOK_S)
    return len(seen) > 1
