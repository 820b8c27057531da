"""Faults at the n-th system call of a command, by strace: no hook in the product."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.server import Ended, Server

KINDS = {
    "write": ("write", "pwrite64", "writev"),
    "fsync": ("fsync", "fdatasync"),
    "rename": ("rename", "renameat", "renameat2"),
    "create": ("mkdir", "mkdirat"),
}
"""System calls by what they mean here."""
PRINTED = re.compile(r"write\([12], .*\(INJECTED\)")
CALL = re.compile(r"^(?P<thread>\d+) +(?P<call>\w+)\((?P<rest>.*)$")


@dataclass(frozen=True)
class Place:
    """The `number`-th call of `call` in one thread."""

    kind: str
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.number}" if self.call == self.kind else f"{self.kind}-{self.call}-{self.number}"


def available() -> bool:
    """Return whether strace is here and may look into processes that run."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "1"]) as process:
        watched = ["strace", "-o", "/dev/null", "-p", str(process.pid)]
        return subprocess.run(watched, capture_output=True, check=False).returncode == 0


def places(server: Server, words: list[Any], folder: Path) -> tuple[Ended, list[Place]]:
    """Run a command; return how it ended and all places where it touches files in `folder`, in their order."""
    log = folder.with_name(f"{folder.name}-calls.txt")
    ended = _traced(
        server, words, folder, log, ["-y", "-e", "trace=" + ",".join(call for calls in KINDS.values() for call in calls)]
    )
    found = list(dict.fromkeys(_places(log, folder)))
    log.unlink()
    return ended, found


def _places(log: Path, folder: Path) -> Iterator[Place]:
    counts: Counter[tuple[str, str]] = Counter()
    kinds = {call: kind for kind, calls in KINDS.items() for call in calls}
    for line in log.read_text(errors="replace").splitlines():
        if (match := CALL.match(line)) and match["call"] in kinds:
            counts[match["thread"], match["call"]] += 1
            if _concerns(match["rest"], str(folder)):
                yield Place(kinds[match["call"]], match["call"], counts[match["thread"], match["call"]])


def _concerns(arguments: str, folder: str) -> bool:
    """Return whether a call concerns files in `folder`, where the command runs, other than what it prints."""
    return (folder in arguments or arguments.startswith('"output')) and f"{folder}/std" not in arguments


def struck(server: Server, words: list[Any], folder: Path, place: Place, blow: str) -> tuple[Ended, bool, bool]:
    """Run a command with a fault at one place; return how it ended, whether the fault came, and whether it struck what it prints.

    strace counts the calls of each thread for itself: the n-th of one that prints may fail with the n-th of the one that writes.

    Parameters
    ----------
    blow
        ``signal=KILL``, or ``error=ENOSPC`` and its like.
    """
    log = folder.with_name(f"{folder.name}-blow.txt")
    options = ["-e", f"trace={place.call}", "-e", f"inject={place.call}:{blow}:when={place.number}"]
    ended = _traced(server, words, folder, log, options)
    said = log.read_text(errors="replace")
    came = ended.status == -9 if blow == "signal=KILL" else "(INJECTED)" in said
    log.unlink()
    return ended, came, PRINTED.search(said) is not None


def _traced(server: Server, words: list[Any], folder: Path, log: Path, options: list[str]) -> Ended:
    job = server.start(words, folder, traced=True)
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-s", "0", "-o", log, *options, "-p", str(job.pid)], stderr=subprocess.DEVNULL
    )
    ended = job.wait()
    tracer.wait(60)
    return ended
