"""Commands that are killed, or meet a full or failing disk, at the n-th write, fsync, rename or new folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

import numpy as np

from faults import tracing
from faults.campaign import Bench, Case, Missed
from faults.commands import Command, check_finished, check_whole, chosen, commands, left_behind, results
from faults.material import Material
from faults.oracle import Lost, judge
from faults.tracing import Place

BLOWS = {"kill": "signal=KILL", "full": "error=ENOSPC", "broken": "error=EIO"}
FITTING = {
    "write": ("kill", "full", "broken"),
    "fsync": ("kill", "broken"),
    "rename": ("kill", "broken"),
    "create": ("kill", "full"),
}
"""Which faults happen at which call."""
FIRST, DRAWN = 30, 12
"""Of each kind of call of a command that trains: so many from the beginning, and so many drawn from the rest."""
ALL = 40
"""Of other commands, so many from the beginning; OME-Zarr and Parquet write in many pieces."""


def missing() -> str:
    """Return what this machine lacks."""
    return "" if tracing.available() else "no strace, or it may not trace: apt-get install strace"


def cases(material: Material, seed: int, name: str = "") -> Iterator[Case]:
    """Yield all cases. Each command runs once undisturbed first, which tells its places and what it leaves."""
    for command in chosen(commands(material), name):
        yield from of_command(command, material, seed)


def sample(material: Material, seed: int) -> Iterator[Case]:
    """Yield a few cases of cheap commands, one for each fault."""
    cheap = [one for one in commands(material) if one.name in ("export-csv", "convert", "pretrain")]
    for command in cheap:
        found = list(of_command(command, material, seed))
        wanted = dict.fromkeys(("kill-write", "kill-rename", "full-write", "broken-fsync"))
        for case in found[len(found) // 3 :] + found:
            kind = case.name.split("/")[2].rpartition("-")[0]
            if kind in wanted and wanted[kind] is None and (command.name != "pretrain" or kind == "kill-rename"):
                wanted[kind] = case
        yield from (case for case in wanted.values() if case is not None)


def of_command(command: Command, material: Material, seed: int) -> Iterator[Case]:
    """Yield the cases of one command."""
    folder = material.folder / "traced" / command.name
    (folder / "output").mkdir(parents=True)
    ended, found = tracing.places(material.server, command.words, folder)
    judge(ended, (0,))
    reference = results(folder)
    shutil.rmtree(folder)
    rng = np.random.default_rng(seed)
    for kind in FITTING:
        for place in _chosen([place for place in found if place.kind == kind], command.trains, rng):
            for blow in FITTING[kind]:
                attempt = partial(_attempt, command=command, place=place, blow=blow, reference=reference)
                yield Case(f"kills/{command.name}/{blow}-{place}", f"{command.name}-{blow}-{kind}", attempt)


def _chosen(places: list[Place], trains: bool, rng: np.random.Generator) -> list[Place]:
    first = FIRST if trains else ALL
    rest = places[first:]
    drawn = rng.choice(len(rest), min(DRAWN, len(rest)), replace=False) if rest else []
    return [*places[:first], *(rest[int(number)] for number in sorted(drawn))]


def _attempt(bench: Bench, command: Command, place: Place, blow: str, reference: dict[str, str]) -> None:
    """Strike a command once, look at what lies there, start it again, and compare the end with the undisturbed one."""
    (bench.folder / "output").mkdir()
    bystander = bench.folder / "output" / "notes of the user.txt"
    bystander.write_text("mine")
    ended, came, mute = tracing.struck(bench.server, command.words, bench.folder, place, BLOWS[blow])
    if not came:
        raise Missed
    if blow != "kill":
        judge(ended, (0, 1), mute=mute)
        if ended.status and (left := left_behind(bench.folder)):
            raise Lost(f"left behind though it was not killed: {', '.join(left[:3])}")
    check_whole(command, bench.folder, reference)
    command.again(bench.server, bench.folder)
    check_finished(bench.folder, reference)
    if bystander.read_text() != "mine":
        raise Lost("a file of the user was changed")
