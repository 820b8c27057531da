"""Names of folders that are written: letters that every system takes, and never those of a folder that exists."""

from __future__ import annotations

from pathlib import Path

from napari_sdmae.humanize import slug


def free_folder(parent: Path, name: str, otherwise: str, *, ending: str = "") -> Path:
    """Return a folder in `parent` that does not exist yet, named by what a person called something.

    Parameters
    ----------
    parent
        Where.
    name
        As given; slashes, colons and other letters that a file name cannot have become dashes.
    otherwise
        The name where nothing is left of `name`.
    ending
        Stands behind the name, and behind the number of a name that is taken.
    """
    plain = slug(name, otherwise)
    folder, number = parent / f"{plain}{ending}", 2
    while folder.exists():
        folder, number = parent / f"{plain}-{number}{ending}", number + 1
    return folder
