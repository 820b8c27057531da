"""Whether a run may be started, and if not why: one pure function for both kinds of training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Situation(ABC):
    """What Start depends on, whatever is trained; a kind of training adds what its pre-flight found.

    Attributes
    ----------
    images
        What the run learns from, in words.
    """

    images: ClassVar[str] = "images"
    source: Path | None
    problems: Sequence[str] = ()
    checking: bool = False
    check_failed: str = ""
    output: Path | None = None
    run_live: bool = False
    no_source: str = "Choose images."

    def source_problem(self, source: Path) -> str:
        """Return why nothing can be read from `source`, in words; empty if it is there."""
        return "" if source.exists() else f"{source} does not exist. Choose another."

    @abstractmethod
    def found_problem(self) -> str | None:
        """Return why what the pre-flight found is not enough, empty if it is, None while nothing was found yet."""


def reason_not_to_start(now: Situation) -> str:
    """Return why Start is disabled, in words, and what to do; an empty text when it may be pressed."""
    if now.run_live:
        return "A run is training. Stop or pause it first (tab Progress)."
    if now.source is None:
        return now.no_source
    if problem := now.source_problem(now.source):
        return problem
    if now.problems:
        return now.problems[0]
    if now.output is None:
        return "Choose the folder to save runs in."
    if now.output.exists() and not now.output.is_dir():
        return f"{now.output} is a file. Choose a folder to save runs in."
    if now.checking:
        return f"Checking the {now.images}…"
    if now.check_failed:
        return now.check_failed
    problem_found = now.found_problem()
    return f"The {now.images} have not been checked yet." if problem_found is None else problem_found
