"""Hidden temporary files that carry the name of the process that writes them, so that those of dead processes can be cleared.

``.NAME.sdmae-MACHINE-BOOT-SPACE-PID-START-NUMBER.KIND``: everything but the process id and a running number is a digest, since
names of hosts and of boots are too long. Whether a process of another machine or container lives cannot be told: its files stay.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

from napari_sdmae.io.processes import ProcessIdentity, start_token

WRITING, REPLACED, READY, REPLACING = "tmp", "old", "new", "over"
"""Kinds: being written; a folder whose place a new one takes; files that only wait to be moved into place, to new names or also
over older files."""
LONGEST = 150
"""Bytes of a name that a temporary one keeps: it is to be recognised, and names of more than 255 bytes are not possible."""
_NAME = re.compile(
    r"\.(?P<name>.+)\.sdmae-(?P<machine>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<space>[0-9a-f]{8})"
    r"-(?P<pid>[0-9]{1,10})-(?P<start>[0-9a-f]{8})-[0-9]{1,9}\.(?P<kind>tmp|old|new|over)"
)
_NUMBERS = count()


def reserved(path: Path, kind: str = WRITING) -> Path:
    """Return a name beside `path` that no other process, thread or call uses."""
    name = path.name if kind == REPLACED else path.name.encode()[:LONGEST].decode(errors="ignore")
    return path.with_name(f".{name}.sdmae-{_signature(ProcessIdentity.current())}-{next(_NUMBERS)}.{kind}")


def dead_leftovers(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield path, kind and the name it stands for of each temporary file and folder in `folder` whose process surely ended."""
    for path in sorted(folder.iterdir()):
        found = _NAME.fullmatch(path.name)
        if found is not None and not path.is_symlink() and _ended(found):
            yield path, found["kind"], found["name"]


def remove(path: Path) -> None:
    """Remove a temporary file or folder, as far as it can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _signature(process: ProcessIdentity) -> str:
    return "-".join([_machine(process.host), *_boot(process.boot), str(process.pid), _digest(process.start)])


def _ended(found: re.Match[str]) -> bool:
    """Tell whether the process surely ended: on this machine, before it started anew, or in this very container."""
    own = ProcessIdentity.current()
    boot, space = _boot(own.boot)
    if found["machine"] != _machine(own.host):
        return False
    if found["boot"] != boot:
        return True
    start = start_token(int(found["pid"]))
    return found["space"] == space and (start is None or _digest(start) != found["start"])


def _boot(boot: str) -> tuple[str, str]:
    """Return digests of what tells this start of the machine, and of the container that process ids count in."""
    start, _, space = boot.partition(" ")
    return _digest(start), _digest(space)


@cache
def _machine(host: str) -> str:
    """Return a digest of the machine: its name, and where the system has one its own number, as names are not unique."""
    number = ""
    with suppress(OSError):
        number = Path("/etc/machine-id").read_text(encoding="ascii", errors="replace")
    return _digest(host + number)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
