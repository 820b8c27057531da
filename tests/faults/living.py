"""A run that lives for a while, to be disturbed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from faults.campaign import Bench
from faults.oracle import Lost
from faults.server import LIMIT_S, Job

LONG = ("--epochs", "20")
"""Some seconds of steps."""
ENDLESS = ("--epochs", "20000")


def start(bench: Bench, *words: Any, kind: str = "pretrain", length: tuple[str, ...] = LONG, **options: Any) -> Job:
    """Start a run in ``output/run`` of the bench."""
    (bench.folder / "output").mkdir(exist_ok=True)
    settings = {"pretrain": bench.material.pretrain, "finetune": bench.material.finetune}[kind]
    return bench.server.start([kind, "--config", settings, *length, "--output", "output/run", *words], bench.folder, **options)


def wait_for(reached: Any, what: str) -> None:
    """Wait until `reached()` holds.

    Raises
    ------
    Lost
        If it does not.
    """
    end = time.monotonic() + LIMIT_S
    while not reached():
        if time.monotonic() > end:
            raise Lost(f"never came: {what}")
        time.sleep(0.02)


def steps(folder: Path) -> int:
    """Return how many lines of measures a run has written."""
    path = folder / "output" / "run" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def state(folder: Path) -> str:
    """Return the state that the status of a run names."""
    path = folder / "output" / "run" / "status.json"
    return str(json.loads(path.read_text())["state"]) if path.is_file() else ""
