"""Steps of the system clock: a living job is never called dead or gone on with by a second one, and a dead one is.

Those who watch see another time (libfaketime), with the boot time in ``/proc/stat`` moved as the kernel moves it; some are on
another host besides. They are real processes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from faults import living
from faults.campaign import Bench, Case
from faults.disks import may_mount
from faults.material import Material
from faults.oracle import Lost, judge
from faults.server import LIMIT_S, Ended

STEPS_S = (-3600, -10, 10, 3600)
HOSTS = ("same", "other")
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
"""Loaded without its wrapper ``faketime``, which fails where an earlier process of its number died and left shared memory."""


def missing() -> str:
    """Return what this machine lacks."""
    if not may_mount():
        return "steps of the clock: a mount over /proc/stat needs root"
    return "" if LIBRARIES else "steps of the clock: apt-get install faketime"


def cases(material: Material, seed: int, name: str = "") -> Iterator[Case]:
    """Yield all cases."""
    for step in STEPS_S:
        for host in HOSTS:
            yield Case(f"clock/living-{host}/{step:+d}", f"living-{host}", partial(_living, step=step, host=host, resume=True))
        yield Case(f"clock/dead/{step:+d}", "dead", partial(_dead, step=step))


def sample(material: Material, seed: int) -> Iterator[Case]:
    """Yield one of each kind, without the seconds that ``resume`` takes to load torch."""
    for host in HOSTS:
        yield Case(f"clock/living-{host}", f"living-{host}", partial(_living, step=3600, host=host, resume=False))
    yield Case("clock/dead", "dead", partial(_dead, step=-3600))


def _living(bench: Bench, step: int, host: str, resume: bool) -> None:
    """Watch a job that lives, after a step of the clock; in the end it hears what a watcher asks for."""
    job = living.start(bench, length=living.ENDLESS)
    try:
        living.wait_for(lambda: living.steps(bench.folder) >= 3, "step 3")
        _check_seen(bench, step, host, wrong=("interrupted",))
        if resume:
            ended = _watch(bench, step, host, "resume", "output/run")
            judge(ended, (1, 2))
        if living.state(bench.folder) != "running" or job.server.ends(job.pid, 0):
            raise Lost("the job was disturbed by those who watch")
        if host == "same":
            judge(_watch(bench, step, host, "pause", "output/run"), (0,))
            judge(job.wait(), (0,))
            if living.state(bench.folder) != "paused":
                raise Lost(f"asked to pause, the run is {living.state(bench.folder)}")
    finally:
        if Path(f"/proc/{job.pid}/stat").exists():
            job.signal(signal.SIGKILL)
            job.wait()


def _dead(bench: Bench, step: int) -> None:
    """Watch a job that was killed, after a step of the clock: it is dead, and can be gone on with."""
    job = living.start(bench)
    living.wait_for(lambda: living.steps(bench.folder) >= 3, "step 3")
    job.signal(signal.SIGKILL)
    job.wait()
    _check_seen(bench, step, "same", wrong=("running", "preparing"))


def _check_seen(bench: Bench, step: int, host: str, wrong: tuple[str, ...]) -> None:
    ended = _watch(bench, step, host, "runs", "output", "--json")
    judge(ended, (0,))
    seen = [run["state"] for run in json.loads(ended.stdout)]
    if len(seen) != 1 or seen[0] in wrong:
        raise Lost(f"seen as {seen} by a watcher whose clock is {step:+d} s off on the {host} host")


def _watch(bench: Bench, step: int, host: str, *words: Any) -> Ended:
    """Run ``sdmae WORDS`` where the clock is `step` seconds off."""
    stat = bench.folder / "proc-stat"
    moved = re.sub(
        r"^btime (\d+)", lambda found: f"btime {int(found[1]) + step}", Path("/proc/stat").read_text(), flags=re.MULTILINE
    )
    stat.write_text(moved)
    command = shlex.join(["env", f"LD_PRELOAD={LIBRARIES[0]}", sys.executable, "-m", "napari_sdmae", *map(str, words)])
    elsewhere = "hostname elsewhere && " if host == "other" else ""
    script = f"mount --bind {shlex.quote(str(stat))} /proc/stat && {elsewhere}exec {command}"
    unmoved = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    environment = os.environ | unmoved | {"FAKETIME": f"{step:+d}s", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["unshare", "--mount", "--uts", "sh", "-c", script], cwd=bench.folder, env=environment, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr, 0)
