"""Which process wrote something, and whether that very process still lives, whatever the clock of the system does.

A process id is used again by others, and a time of start moves with the clock (NTP, a laptop that wakes). What does not move: on
Linux the start in ticks since boot together with the boot's own id, elsewhere the time of start as the system once noted it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, once and for all.

    Attributes
    ----------
    host
        Name of the machine.
    boot
        What tells this start of the machine (and this container) from others, with the machine's own id where it has one; empty
        where the system has nothing of the kind.
    pid
        Process id, in this boot used again after a while.
    start
        When it started, as a token to be compared and not to be read.
    """

    host: str
    boot: str
    pid: int
    start: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        """Return the identity of this process."""
        return cls(platform.node(), boot_id(), os.getpid(), start_token(os.getpid()) or "")

    def is_alive(self) -> bool | None:
        """Return whether this process lives; None where that cannot be told: it is on another host or in another container."""
        if self.host != platform.node():
            return None
        if self.boot != boot_id():
            return False if _started_again(self.boot, boot_id()) else None
        return start_token(self.pid) == self.start


def start_token(pid: int) -> str | None:
    """Return when process `pid` started, as a token that no step of the clock changes; None for a process that ended."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return (
            None if fields[0] in "ZXx" else fields[19]
        )  # field 22 of proc(5), start in ticks since boot; the name may hold spaces
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.Error:
        return None


@cache
def boot_id() -> str:
    """Return what tells this start of the machine from others, on Linux with the namespace that process ids count in."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()} {_machine_id()}".rstrip()
    if sys.platform == "darwin":
        found = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
        return found.stdout.strip()
    return ""


def _machine_id() -> str:
    """Return what tells this machine from another of the same name, empty where nobody gave it an id."""
    try:
        return Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _started_again(one: str, other: str) -> bool:
    """Return whether these are two starts of one machine, and not two containers of one start, or two machines of one name."""
    (boot, *rest), (own_boot, *own_rest) = one.split() or [""], other.split() or [""]
    machines = {*rest[1:2], *own_rest[1:2]}
    return boot != own_boot and len(machines) < 2
