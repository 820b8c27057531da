"""Where tile caches lie, which there are, and how to be rid of one."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import SourceFile, fingerprint
from napari_sdmae.data.tiles.journal import JOURNAL, TILES
from napari_sdmae.io.atomic import clear_leftovers

COMPLETE, LOCK = "cache.json", "lock"
FILES = (TILES, JOURNAL, COMPLETE, LOCK)
"""What a cache consists of."""


def cache_root(settings: TilesConfig) -> Path:
    """Return the folder that holds the caches: the one in the settings, or the user's cache folder."""
    return Path(settings.cache).expanduser() if settings.cache else platformdirs.user_cache_path("napari-sdmae")


def cache_folder(files: list[SourceFile], settings: TilesConfig) -> Path:
    """Return where the cache of `files` lies, or would lie."""
    return cache_root(settings) / f"tiles-{fingerprint(files, settings)}"


def list_caches(root: Path) -> list[tuple[Path, int]]:
    """Return the caches in `root` and their size in bytes, complete or not."""
    return [
        (folder, sum(file.stat().st_size for file in folder.iterdir() if file.is_file()))
        for folder in sorted(root.glob("tiles-*"))
        if folder.is_dir()
    ]


def delete_cache(folder: Path) -> None:
    """Delete one cache, as :func:`list_caches` gives it; it is filled again when it is needed.

    Raises
    ------
    ValueError
        If `folder` is not a tile cache, or something else lies in it.
    """
    if folder.is_symlink() or not folder.name.startswith("tiles-") or not (folder / JOURNAL).exists():
        raise ValueError(f"{folder} is not a tile cache; nothing was deleted")
    clear_leftovers(folder)
    if others := sorted(path.name for path in folder.iterdir() if path.name not in FILES or not path.is_file()):
        raise ValueError(f"{folder} also holds {others[0]}, which is not of a tile cache; nothing was deleted")
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()
