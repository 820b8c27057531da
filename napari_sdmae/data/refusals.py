"""Why tiles cannot be made or trained on: each function raises `DataError`, in words that say what to do, or does nothing."""

from __future__ import annotations

from pathlib import Path

from napari_sdmae.data.listing import TileCacheError
from napari_sdmae.data.sources import DataError

ALLOW_MORE = "--tiles.max-unusable"
"""The setting of pre-training that allows more unusable images."""


def refuse_unusable(unusable: list[tuple[str, str]], total: int, allowed: float, remedy: str) -> None:
    """Raise `DataError` if a larger fraction of the `total` images than `allowed` is `unusable` (name, reason).

    `remedy` says what can be done beside mending the files.
    """
    count = len(unusable)
    if count > allowed * total:
        examples = "; ".join(f"{name}: {reason}" for name, reason in unusable[:3])
        raise DataError(
            f"{count} of {total} images cannot be used, more than the {allowed:.0%} allowed ({remedy}): "
            f"{examples}{'; …' if count > 3 else ''}"
        )


def refuse_empty(tiles: int, images: int) -> None:
    """Raise `DataError` if no tile is left of `images` images."""
    if not tiles:
        raise DataError(
            f"none of the {images} images shows tissue: lower the least tissue (--tiles.min-tissue) "
            "or switch the tissue filter off (--tiles.no-tissue-filter)"
        )


def refuse_full(needed: int, free: int, root: Path) -> None:
    """Raise `TileCacheError` if `needed` bytes do not fit into the `free` ones in `root`."""
    if needed > free:
        raise TileCacheError(
            f"the tile cache needs about {needed / 1e9:,.1f} GB in {root}, where {free / 1e9:,.1f} GB are free: "
            "free some space, or choose another folder (--tiles.cache)"
        )
