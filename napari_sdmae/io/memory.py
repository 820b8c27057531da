"""How much memory there is, and the one refusal of what would need more: asked before a file is read, not after."""

from __future__ import annotations

from pathlib import Path

import psutil

from napari_sdmae.humanize import size
from napari_sdmae.moved import renamed

SHARE = 0.8
"""Share of the available memory that one step may take: the rest is left to the system and to what was not counted."""
SMALL = 16_000_000
"""Bytes that are not asked for: asking the system takes as long as decoding a tile."""
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where Linux states the limit of a container or a cluster job, and what of it is used (cgroups, version 2 and 1)."""


class TooLargeError(ValueError):
    """More memory would be needed than there is; the message says how much, and what to do."""


def available_memory() -> int:
    """Return the bytes that this process can still take: those of the machine, or of its container or cluster job if fewer."""
    return min([psutil.virtual_memory().available, *(left for left in map(_left, _LIMITS) if left is not None)])


def check_memory(needed: int, what: str, advice: str) -> None:
    """Raise `TooLargeError` if `needed` bytes are more than may be taken.

    Parameters
    ----------
    what
        What would take them, as the beginning of a sentence: ``decoding 24000 × 16000 px``.
    advice
        What to do instead.
    """
    if needed <= SMALL:
        return
    usable = int(available_memory() * SHARE)
    if needed > usable:
        raise TooLargeError(f"{what} needs about {size(needed)} of memory, {size(usable)} can be used: {advice}")


def read_whole(path: Path) -> bytes:
    """Return the content of a file, if the memory holds it.

    Raises
    ------
    TooLargeError
        If it does not; a file of gigabytes may be a few bytes on the disk.
    OSError
        If it cannot be read.
    """
    check_memory(path.stat().st_size, "reading the file in one piece", "cut it into smaller files")
    return path.read_bytes()


def _left(files: tuple[str, str]) -> int | None:
    """Return what is left of a limit, None if there is none."""
    try:
        limit, used = (int(Path(file).read_text(encoding="ascii")) for file in files)
    except (OSError, ValueError):  # no such file, or the word "max"
        return None
    return max(limit - used, 0)


__getattr__ = renamed(__name__, TooLarge="TooLargeError")
