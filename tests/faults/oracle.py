"""What every command must keep to, whatever is thrown at it."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.server import Ended

DOCUMENTED = (0, 1, 2, 3, 143)
"""Exit statuses of ``sdmae --help``."""
MOST_MEMORY = 4_500_000_000
"""Bytes that no small file may cost: an image of the most pixels that are decoded in one piece takes 3 GB."""
GREEDY = re.compile(r"unable to allocate|not enough memory|bad_alloc|allocate memory|MemoryError", re.IGNORECASE)
LARGE = 1_000_000_000
"""Files from so many bytes on, all of them sparse, are known by size and time alone."""
RAW = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Control characters: what a file holds must not steer the terminal."""


class Lost(Exception):
    """A case that was lost; the message is the reason, on one line."""


def judge(ended: Ended, statuses: tuple[int, ...] = DOCUMENTED, *, mute: bool = False) -> None:
    """Raise `Lost` unless a command ended in a documented way and, where it failed, said why on a line.

    Parameters
    ----------
    ended
        How it ended.
    statuses
        The exit statuses that are right here.
    mute
        Whether it could not print: then a reason is not asked for.
    """
    said = ended.stderr + ended.stdout
    if "Traceback (most recent call last)" in said:
        raise Lost(f"traceback: {_last_line(ended.stderr)}")
    if ended.status < 0:
        raise Lost(f"died of {signal.Signals(-ended.status).name}")
    if ended.status not in statuses:
        raise Lost(f"exit status {ended.status}, expected {' or '.join(map(str, statuses))}: {_last_line(ended.stderr)}")
    if ended.status and not said.strip() and not mute:
        raise Lost(f"exit status {ended.status} without a reason")
    if found := RAW.search(said):
        raise Lost(f"raw control character {found[0]!r} printed")
    if ended.peak > MOST_MEMORY or GREEDY.search(said):
        raise Lost(f"took {ended.peak / 1e9:.1f} GB for a small file: {_last_line(ended.stderr)}")


def complaint(ended: Ended, statuses: tuple[int, ...] = DOCUMENTED) -> str:
    """Return why a command is lost, see :func:`judge`; empty if it is not."""
    try:
        judge(ended, statuses)
    except Lost as reason:
        return str(reason)
    return ""


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def fingerprint(folder: Path, *left_out: Path) -> dict[str, str]:
    """Return what lies below `folder`, by name: kind and content; without the folders `left_out`."""
    found: dict[str, str] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) not in left_out]
        for name in (*folders, *names):
            path = Path(place, name)
            found[os.fsencode(path.relative_to(folder)).decode(errors="backslashreplace")] = _content(path)
    return found


def _content(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(status.st_mode):
        return f"{stat.S_IFMT(status.st_mode):o}"
    if status.st_size > LARGE:
        return f"{status.st_size} bytes of {status.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_untouched(before: dict[str, str], after: dict[str, str]) -> None:
    """Raise `Lost` if anything was added, changed or removed."""
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    if changed:
        raise Lost(f"outside the output: {', '.join(sorted(changed)[:3])} changed")
