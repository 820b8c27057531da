"""What a job that was killed leaves half-written in its run folder, known by name. Imports no torch."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from napari_sdmae.runs.ownership.job_numbers import OWNERS

LEFTOVER = re.compile(
    r"\.((config|status|environment|report)\.json|config\.yaml|command\.txt|metrics\.jsonl|quarantine\.csv|control|claim"
    r"|model\.safetensors|training\.(json|safetensors)|owner-[0-9a-f]+|step-\d+|epoch-\d+\.(npz|png))(\..*)?\.tmp.*"
)
"""Names of what is written aside and then renamed; of anybody else's hidden files none."""


def is_leftover(name: str) -> bool:
    """Return whether a file or folder of this name was written aside by a job of ours."""
    return LEFTOVER.fullmatch(name) is not None


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove what a killed job left half-written in `folders`."""
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if not is_leftover(path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def only_leftovers(run: Path) -> bool:
    """Return whether the folder `run` is empty but for what a job leaves that was killed before it wrote its first status."""
    names = {path.name for path in run.iterdir()}
    claimed = ".claim.tmp" in names or ((run / OWNERS).is_dir() and any((run / OWNERS).iterdir()))
    ours = {OWNERS, "config.yaml"} if claimed else {OWNERS}
    return all(name in ours or is_leftover(name) for name in names)
