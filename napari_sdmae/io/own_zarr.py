"""Whether a folder is an OME-Zarr of labels that we wrote, and nothing else: only such a folder may ever be replaced."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METADATA = "zarr.json"
_LABELS = r"(zarr\.json|\d+(/(zarr\.json|c(/\d+(/\d+)?)?))?)"
"""What labels consist of: metadata, and for each level metadata and chunks by row and column."""
_WHOLE = re.compile(rf"zarr\.json|labels(/zarr\.json|/[^/]+(/{_LABELS})?)?")
_ONE = re.compile(_LABELS)


def strange_in(folder: Path) -> Path | None:
    """Return the first thing in `folder` that is not of an OME-Zarr of labels that we wrote, `folder` itself where it is none.

    A picture to which labels were added is none of ours; the labels in it are, each by itself. Links are never ours.
    """
    about = _ours(folder)
    if about is None:
        return folder
    known = _ONE if "classes" in about else _WHOLE
    for path in _everything(folder):
        name = path.relative_to(folder).as_posix()
        labels = path.is_dir() and name.startswith("labels/") and name.count("/") == 1
        if not known.fullmatch(name) or (labels and _ours(path) is None):
            return path
    return None


def _everything(folder: Path) -> Iterator[Path]:
    """Yield all files and folders below `folder`; what is neither, such as a link, under a name that is never known."""
    for place, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = Path(place, name)
            plain = not path.is_symlink() and (path.is_file() or path.is_dir())
            yield path if plain else path / "no plain file"


def _ours(folder: Path) -> dict[str, Any] | None:
    """Return what we wrote into the metadata of a group, None if we wrote nothing."""
    from napari_sdmae.io.labels.description import KEY

    try:
        found = json.loads((folder / METADATA).read_bytes())["attributes"][KEY]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
