"""Whether a fine-tuning run may be started, and if not why: one pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FoundLabels:
    """The result of the pre-flight: usable images of each part, and how many cannot be used."""

    train: int
    validation: int
    test: int
    unusable: int


@dataclass(frozen=True)
class LabelledSituation:
    """What Start depends on."""

    source: Path | None
    model_problem: str = ""
    problems: Sequence[str] = ()
    checking: bool = False
    check_failed: str = ""
    found: FoundLabels | None = None
    output: Path | None = None
    run_live: bool = False
    no_source: str = "Choose labelled images."


def reason_not_to_start(now: LabelledSituation) -> str:
    """Return why Start is disabled, in words, and what to do; an empty text when it may be pressed."""
    if now.run_live:
        return "A run is training. Stop or pause it first (tab Progress)."
    if now.source is None:
        return now.no_source
    if not now.source.exists():
        return f"{now.source} does not exist. Choose another."
    if now.model_problem:
        return now.model_problem
    if now.problems:
        return now.problems[0]
    if now.output is None:
        return "Choose the folder where runs are kept."
    if now.output.exists() and not now.output.is_dir():
        return f"{now.output} is a file. Choose a folder where runs are kept."
    if now.checking:
        return "Looking at the labelled images…"
    if now.check_failed:
        return now.check_failed
    if now.found is None:
        return "The labelled images have not been looked at yet."
    if now.found.train == 0:
        return "No image is left to train on. Lower the fractions for validation and test (More settings, Labels)."
    return ""
