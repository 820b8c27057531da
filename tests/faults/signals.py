"""Signals, closed pipes, full log devices and dropped terminals, while a run lives or a command writes."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from faults import living
from faults.campaign import Bench, Case
from faults.commands import Command, check_finished, commands, results
from faults.material import Material
from faults.oracle import Lost, complaint, judge
from faults.server import Job

STOPPED = 143
Disturb = Callable[[Bench, str], None]
"""Disturbs a run of a kind."""


def missing() -> str:
    """Return what this machine lacks."""
    return ""


def cases(material: Material, seed: int, name: str = "") -> Iterator[Case]:
    """Yield all cases."""
    references = {kind: _reference(material, kind) for kind in ("pretrain", "finetune")}
    for kind, reference in references.items():
        for name, disturb in DISTURBED.items():
            attempt = partial(_attempt_run, kind=kind, disturb=disturb, reference=reference)
            yield Case(f"signals/{kind}/{name}", f"{kind}-{name}", attempt)
    for command in commands(material):
        if command.name in references:
            continue
        for name, full in (("prints-into-closed-pipe", False), ("prints-onto-full-device", True)):
            yield Case(f"signals/{command.name}/{name}", name, partial(_attempt_output, command=command, full=full))


def sample(material: Material, seed: int) -> Iterator[Case]:
    """Yield the most telling ones."""
    reference = _reference(material, "pretrain")
    for name in ("hangup", "full-device"):
        yield Case(f"signals/{name}", name, partial(_attempt_run, kind="pretrain", disturb=DISTURBED[name], reference=reference))
    export = next(command for command in commands(material) if command.name == "export-csv")
    for full in (False, True):
        yield Case(
            f"signals/export-{'full' if full else 'closed'}", "output", partial(_attempt_output, command=export, full=full)
        )


def _reference(material: Material, kind: str) -> dict[str, str]:
    """Return the results of a run that nothing disturbs."""
    folder = material.folder / "long" / kind
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(material.server, folder, material)
    judge(living.start(bench, kind=kind).wait(), (0,))
    return results(folder)


def _attempt_run(bench: Bench, kind: str, disturb: Disturb, reference: dict[str, str]) -> None:
    """Disturb a run that lives; what it leaves can be gone on with, and ends as if nothing had been."""
    disturb(bench, kind)
    if living.state(bench.folder) != "finished":
        reason = complaint(bench.server.run(["resume", "output/run"], bench.folder), (0,))
        if reason and not living.steps(bench.folder):
            reason = complaint(living.start(bench, kind=kind).wait(), (0,))
        if reason:
            raise Lost(f"cannot go on: {reason}")
    check_finished(bench.folder, reference)


def _signalled(bench: Bench, kind: str, numbers: tuple[int, ...], statuses: tuple[int, ...], state: str, after: int = 3) -> None:
    """Send signals to a run after some steps."""
    job = living.start(bench, kind=kind)
    living.wait_for(lambda: living.steps(bench.folder) >= after, f"step {after}")
    for number in numbers:
        job.signal(number)
    ended = job.wait()
    if ended.status < 0 and ended.status in statuses:
        return
    judge(ended, statuses)
    _check_state(bench, state)


def _check_state(bench: Bench, state: str) -> None:
    if state and living.state(bench.folder) != state:
        raise Lost(f"the run is {living.state(bench.folder)}, expected {state}")


def _at_once(bench: Bench, kind: str) -> None:
    """End a run as soon as its folder is there."""
    job = living.start(bench, kind=kind)
    living.wait_for(lambda: (bench.folder / "output" / "run").exists(), "the run folder")
    job.signal(signal.SIGTERM)
    judge(job.wait(), (STOPPED,))


def _ignored(bench: Bench, kind: str) -> None:
    """Hang up on a run that was started by nohup."""
    job = living.start(bench, kind=kind, ignored=[signal.SIGHUP])
    living.wait_for(lambda: living.steps(bench.folder) >= 3, "step 3")
    job.signal(signal.SIGHUP)
    judge(job.wait(), (0,))
    _check_state(bench, "finished")


def _halted(bench: Bench, kind: str) -> None:
    """Halt a run for a moment."""
    job = living.start(bench, kind=kind)
    living.wait_for(lambda: living.steps(bench.folder) >= 3, "step 3")
    job.signal(signal.SIGSTOP)
    judge(bench.server.run(["runs", "output"], bench.folder), (0,))
    job.signal(signal.SIGCONT)
    judge(job.wait(), (0,))


def _closed_pipe(bench: Bench, kind: str) -> None:
    """Read one line of what a run prints, and go: as ``2>&1 | head -1`` does."""
    job = _piped(bench, lambda path: living.start(bench, kind=kind, stdout=path, stderr=path))
    judge(job.wait(), (0,))
    _check_state(bench, "finished")


def _piped(bench: Bench, start: Callable[[Path], Job]) -> Job:
    """Start a command that prints into a pipe, which is closed after its first bytes."""
    path = bench.folder / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    job = start(path)
    living.wait_for(lambda: _readable(reader) or job.server.ends(job.pid, 0), "a first line")
    os.close(reader)
    return job


def _readable(handle: int) -> bool:
    import select

    return bool(select.select([handle], [], [], 0)[0])


def _full_device(bench: Bench, kind: str) -> None:
    """Print onto a device that is full."""
    judge(living.start(bench, kind=kind, stdout="/dev/full", stderr="/dev/full").wait(), (0,))
    _check_state(bench, "finished")


def _dropped_terminal(bench: Bench, kind: str) -> None:
    """Close the terminal, as a broken ssh does: the run is hung up, and can no longer print."""
    master, slave = pty.openpty()
    job = living.start(bench, kind=kind, terminal=os.ttyname(slave))
    living.wait_for(lambda: living.steps(bench.folder) >= 3 or job.server.ends(job.pid, 0), "step 3")
    os.close(slave)
    os.close(master)
    ended = job.wait()
    if ended.status not in (0, STOPPED):
        state = living.state(bench.folder)
        raise Lost(f"exit status {ended.status} after the terminal was dropped, expected {STOPPED}; the run is {state}")


DISTURBED: dict[str, Disturb] = {
    "terminate": partial(_signalled, numbers=(signal.SIGTERM,), statuses=(STOPPED,), state="stopped"),
    "interrupt": partial(_signalled, numbers=(signal.SIGINT,), statuses=(STOPPED,), state="stopped"),
    "hangup": partial(_signalled, numbers=(signal.SIGHUP,), statuses=(STOPPED,), state="stopped"),
    "hangup-terminate": partial(_signalled, numbers=(signal.SIGHUP, signal.SIGTERM), statuses=(STOPPED, -15, -1), state=""),
    "terminate-twice": partial(_signalled, numbers=(signal.SIGTERM, signal.SIGTERM), statuses=(STOPPED, -15), state=""),
    "broken-pipe": partial(_signalled, numbers=(signal.SIGPIPE,), statuses=(0,), state="finished"),
    "kill": partial(_signalled, numbers=(signal.SIGKILL,), statuses=(-9,), state=""),
    "terminate-at-once": _at_once,
    "nohup": _ignored,
    "halt": _halted,
    "closed-pipe": _closed_pipe,
    "full-device": _full_device,
    "dropped-terminal": _dropped_terminal,
}


def _attempt_output(bench: Bench, command: Command, full: bool) -> None:
    """Let a command print into a closed pipe or onto a full device: what it writes is whole, and it says nothing odd."""
    (bench.folder / "output").mkdir()
    errors = bench.folder / "errors"

    def start(path: Path) -> Job:
        return bench.server.start(command.words, bench.folder, stdout=path, stderr=errors)

    ended = (start(Path("/dev/full")) if full else _piped(bench, start)).wait()
    judge(ended, (0, 1))
    if "Exception ignored" in ended.stderr:
        raise Lost("the interpreter complained at its end")
    command.again(bench.server, bench.folder)
