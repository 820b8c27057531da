"""Where tile caches lie, and which there are."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import SourceFile, fingerprint

COMPLETE, LOCK = "cache.json", "lock"


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
