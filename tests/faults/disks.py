"""Every command that writes, onto a disk that has too few bytes or too few inodes: a tmpfs of its own for each case."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from faults.campaign import Bench, Case, one_of_each
from faults.commands import Command, check_finished, check_whole, chosen, commands, left_behind, undisturbed
from faults.material import Material
from faults.oracle import Lost, judge

SHARES = (0.0, 0.3, 0.6, 0.9)
"""Of the bytes, or inodes, that the finished output takes."""
PAGE = 4096
SHORT = ("export-geojson", "reconstruct")


def missing() -> str:
    """Return what this machine lacks."""
    return "" if may_mount() else "full disks: mounting a tmpfs needs root"


def may_mount() -> bool:
    """Return whether file systems can be mounted here."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode
        == 0
    )


def cases(material: Material, seed: int, name: str = "") -> Iterator[Case]:
    """Yield all cases: each command with several sizes of the disk."""
    for command in chosen(commands(material), name):
        yield from _of_command(command, material)


def sample(material: Material, seed: int) -> Iterator[Case]:
    """Yield one case of each kind of two cheap commands."""
    for command in commands(material):
        if command.name in SHORT:
            yield from one_of_each(list(_of_command(command, material))[1:])


def _of_command(command: Command, material: Material) -> Iterator[Case]:
    with undisturbed(command, material) as (folder, reference):
        files = list((folder / "output").rglob("*"))
        pages = sum(-(-path.stat().st_size // PAGE) for path in files if path.is_file())
    for what, needed in (("bytes", pages * PAGE), ("inodes", len(files) + 1)):
        for size in sorted({_size(what, needed * share) for share in SHARES}):
            attempt = partial(
                _attempt, command=command, reference=reference, option=f"{'size' if what == 'bytes' else 'nr_inodes'}={size}"
            )
            yield Case(f"disks/{command.name}/{what}-{size}", f"{command.name}-{what}", attempt)


def _size(what: str, needed: float) -> int:
    """Return the size of a disk: whole pages, at least one, or inodes, of which its root takes one."""
    return max(int(needed) // PAGE * PAGE, PAGE) if what == "bytes" else 1 + int(needed)


def _attempt(bench: Bench, command: Command, reference: dict[str, str], option: str) -> None:
    """Run a command on a small disk, make room, and run it again."""
    output = bench.folder / "output"
    output.mkdir()
    with _disk(output, option):
        ended = bench.server.run(command.words, bench.folder)
        judge(ended, (0, 1))
        if ended.status and (left := left_behind(bench.folder)):
            raise Lost(f"left behind though it was not killed: {', '.join(left[:3])}")
        check_whole(command, bench.folder, reference)
        subprocess.run(["mount", "-o", "remount,size=1g,nr_inodes=100000", output], check=True)
        command.again(bench.server, bench.folder)
        check_finished(bench.folder, reference)


@contextmanager
def _disk(folder: Path, option: str) -> Iterator[None]:
    """Lay a small disk over `folder`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "sdmae-faults", folder], check=True)
    try:
        yield
    finally:
        kept = folder.with_name("on the disk")
        shutil.copytree(folder, kept, symlinks=True)
        subprocess.run(["umount", "-l", folder], check=True)
