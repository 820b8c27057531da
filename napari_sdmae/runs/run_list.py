"""The runs in a folder, and those that cannot be read. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_sdmae.runs.folder import RunFolder, RunFolderError, RunStatus
from napari_sdmae.text.printable import printable


@dataclass(frozen=True)
class FoundRuns:
    """What a folder holds.

    Attributes
    ----------
    runs
        The runs with their status, oldest first.
    unreadable
        Folders that cannot be read, as those of other users may be, and runs whose status is none: each with the reason.
    """

    runs: tuple[tuple[RunFolder, RunStatus], ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()


def find_runs(folder: Path) -> FoundRuns:
    """Return the runs in `folder`, which may be a run itself; no run hides another."""
    folder = Path(folder)
    runs, unreadable = [], []
    try:
        places = [folder, *folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        return FoundRuns(unreadable=((folder, error.strerror or str(error)),))
    for run in map(RunFolder, places):
        try:
            if (status := run.read_status()) is not None:
                runs.append((run, status))
        except RunFolderError as error:
            unreadable.append((run.path, printable(str(error).removeprefix(f"{run.status_file} cannot be read: "))))
    return FoundRuns(tuple(sorted(runs, key=lambda found: (found[1].started, str(found[0].path)))), tuple(sorted(unreadable)))


def list_runs(folder: Path) -> list[RunFolder]:
    """Return the runs in `folder`, oldest first; `folder` may be a run itself."""
    return [run for run, _ in find_runs(folder).runs]
