"""Whether Start may be pressed, and if not why: one pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """The result of the pre-flight: images that can be used, files that cannot, tiles left after the tissue filter."""

    images: int
    unusable: int
    tiles: int


@dataclass(frozen=True)
class Situation:
    """What Start depends on."""

    source: Path | None
    problems: Sequence[str] = ()
    checking: bool = False
    check_failed: str = ""
    found: Found | None = None
    max_unusable: float = 0.1
    batch_size: int = 1
    output: Path | None = None
    run_live: bool = False
    no_source: str = "Choose a folder of images."


def reason_not_to_start(now: Situation) -> str:
    """Return why Start is disabled, in words, and what to do; an empty text when it may be pressed."""
    if now.run_live:
        return "A run is training. Stop or pause it first (tab Progress)."
    if now.source is None:
        return now.no_source
    if not now.source.is_dir():
        return f"The folder {now.source} does not exist. Choose another."
    if now.problems:
        return now.problems[0]
    if now.output is None:
        return "Choose the folder where runs are kept."
    if now.output.exists() and not now.output.is_dir():
        return f"{now.output} is a file. Choose a folder where runs are kept."
    if now.checking:
        return "Looking at the images…"
    return now.check_failed or _reason_in(now)


def _reason_in(now: Situation) -> str:
    found = now.found
    if found is None:
        return "The images have not been looked at yet."
    files = found.images + found.unusable
    if files == 0:
        return "No images in this folder (PNG, JPEG, TIFF, BMP). Choose another."
    if found.unusable > now.max_unusable * files:
        return (
            f"{found.unusable} of {files} files cannot be used, more than the {now.max_unusable:.0%} allowed. "
            'Take them out of the folder, or raise "Unusable files allowed" (More settings, Tiles).'
        )
    if found.tiles == 0:
        return 'No tile shows enough tissue. Lower "Least tissue", or switch off "Leave out background".'
    return ""
