"""Runs cases side by side and counts: tried, survived, lost."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from faults.material import Material
from faults.oracle import Lost
from faults.server import Server


class Missed(Exception):
    """A fault that never came, as the command was over before it: the case proves nothing and is not counted."""


@dataclass(frozen=True)
class Bench:
    """Where one case is tried: a server to run commands, an empty folder of its own, and inputs that nobody may change."""

    server: Server
    folder: Path
    material: Material


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes
    ----------
    name
        Unique, such as ``images/png-8/truncated-2``; tells how to run it again.
    kind
        The generator it comes from: the short campaign takes one of each.
    attempt
        Tries it on a bench; raises `Lost`.
    """

    name: str
    kind: str
    attempt: Callable[[Bench], None]


@dataclass
class Tally:
    """What came out."""

    tried: int = 0
    missed: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)

    @property
    def survived(self) -> int:
        """How many held."""
        return self.tried - len(self.lost)

    def __str__(self) -> str:
        return f"tried {self.tried}, survived {self.survived}, lost {len(self.lost)}"


def one_of_each(cases: Iterable[Case]) -> Iterator[Case]:
    """Yield the first case of each kind."""
    seen: set[str] = set()
    for case in cases:
        if case.kind not in seen:
            seen.add(case.kind)
            yield case


class Campaign:
    """Tries cases on several benches at once.

    Parameters
    ----------
    folder
        Where benches are set up; what was lost stays there to be looked at.
    jobs
        How many benches.
    said
        Called with each line of progress.
    """

    def __init__(self, folder: Path, jobs: int, said: Callable[[str], None]) -> None:
        self._folder, self._said, self._own = folder, said, threading.local()
        self._servers: list[Server] = []
        self._pool = ThreadPoolExecutor(jobs, initializer=self._open)
        self.material = self._pool.submit(lambda: Material(folder / "material", self._own.server)).result()

    def run(self, cases: Iterable[Case]) -> Tally:
        """Try all cases; return what came out."""
        tally = Tally()
        for case, reason in self._pool.map(self._try, cases):
            if isinstance(reason, Missed):
                tally.missed += 1
                continue
            tally.tried += 1
            if reason is not None:
                self._said(f"  lost {case.name}")
                tally.lost.append((case.name, str(reason) if isinstance(reason, Lost) else f"{type(reason).__name__}: {reason}"))
            if tally.tried % 50 == 0:
                self._said(f"  … {tally}")
        return tally

    def close(self) -> None:
        """End all servers."""
        self._pool.shutdown()
        for server in self._servers:
            server.close()

    def _open(self) -> None:
        self._own.server = Server()
        self._servers.append(self._own.server)

    def _try(self, case: Case) -> tuple[Case, Exception | None]:
        folder = self._folder / case.name
        folder.mkdir(parents=True)
        try:
            case.attempt(Bench(self._own.server, folder, self.material))
        except Exception as reason:
            return case, reason
        shutil.rmtree(folder)
        return case, None
