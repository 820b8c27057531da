"""What an earlier call of the same command finished: its images are kept, so that a batch that was killed goes on.

An image is finished when the file that is written last tells the same recipe (weights, picture, settings, version) and all files
of the image are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_sdmae import __version__
from napari_sdmae.cli.common.parser import UsageError
from napari_sdmae.io.model_info.info import CONFIG, WEIGHTS, find_model
from napari_sdmae.text.documents import DocumentError, read_json

RECIPE = "recipe"
_PARTS = {"head": "another head, or one trained on since", "picture": "another picture, or one changed since"}
Recipe = dict[str, Any]


def head_digest(head: str) -> str:
    """Return what tells the weights and the configuration of a head from others."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with (find_model(head) / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def recipe_of(image: Path, head: str, settings: dict[str, Any]) -> Recipe:
    """Return all that the results of an image depend on; `head`: of :func:`head_digest`."""
    about = image.stat()
    picture = {"bytes": about.st_size, "mtime_ns": about.st_mtime_ns}
    return {"version": __version__, "head": head, "picture": picture, "settings": settings}


def finished_before(recipe: Recipe, files: Sequence[Path]) -> dict[str, Any] | None:
    """Return what the last of `files` says if all are there and were made by the same recipe, None if none is there.

    Raises
    ------
    UsageError
        If some are there, of another recipe or of nobody knows what.
    """
    there = [path for path in files if path.exists()]
    if not there:
        return None
    output = files[-1]
    told = _read(output)
    if told is None:
        raise UsageError(f"{there[0].name} already in {output.parent}: give --overwrite or another --output")
    if different := _difference(told.get(RECIPE), recipe):
        raise UsageError(f"{output.name} already in {output.parent}, of {different}: give --overwrite or another --output")
    return told if len(there) == len(files) else None


def _difference(told: Any, recipe: Recipe) -> str:
    """Return in words how an earlier recipe differs, empty if it does not."""
    if not isinstance(told, dict):
        return "an earlier version of napari-sdmae"
    known = next((words for name, words in _PARTS.items() if told.get(name) != recipe[name]), "")
    if known or told == recipe:
        return known
    if told.get("version") != recipe["version"]:
        return f"version {told.get('version')} of napari-sdmae"
    before, now = told.get("settings"), recipe["settings"]
    changed = [name for name in now if not isinstance(before, dict) or before.get(name) != now[name]]
    return f"other settings ({', '.join(changed).replace('_', ' ')})"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        told = read_json(path)
    except (OSError, DocumentError):
        return None
    return told if isinstance(told, dict) else None
