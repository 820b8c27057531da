"""How many tiles there will be, from decoding all images of a small source or some images of a large one."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sdmae.config import TilesConfig
from napari_sdmae.data.decoding import decode_in_order
from napari_sdmae.data.sources import SourceFile, Survey
from napari_sdmae.data.tiles import tile_count
from napari_sdmae.io.images import UnusableImage

SAMPLED_PIXELS = 150_000_000
"""Pixels decoded for an estimate: a second or two."""


@dataclass(frozen=True)
class Sample:
    """Images looked at closely.

    Attributes
    ----------
    tiles
        Tiles of the whole source after the tissue filter; an estimate unless `complete`.
    unusable
        (name, reason) of sampled images that turned out unusable.
    mpps
        µm/px of the sampled images that state it.
    complete
        Whether every image was looked at.
    """

    tiles: int
    unusable: list[tuple[str, str]]
    mpps: list[float]
    complete: bool


def sample_tiles(found: Survey, settings: TilesConfig) -> Sample:
    """Decode images spread evenly over the source, about `SAMPLED_PIXELS` in all, and scale up what they give."""
    counts = {file.name: tile_count(height, width, found.edge) for file, height, width in found.readable}
    chosen = _spread(found.readable, SAMPLED_PIXELS)
    kept, unusable, mpps = 0, [], []
    for file, decode in decode_in_order(chosen, found.edge, settings):
        try:
            chunks, mpp = decode()
            kept += sum(len(tiles) for tiles, _ in chunks)
            mpps += [mpp] if mpp else []
        except UnusableImage as error:
            unusable.append((file.name, str(error)))
    total, seen = sum(counts.values()), sum(counts[file.name] for file, _, _ in chosen)
    return Sample(round(kept * total / seen) if seen else 0, unusable, mpps, len(chosen) == len(found.readable))


def _spread(readable: list[tuple[SourceFile, int, int]], pixels: int) -> list[tuple[SourceFile, int, int]]:
    """Return every n-th image, at least one, with n so that they have about `pixels` in all."""
    total = sum(height * width for _, height, width in readable)
    return readable[:: max(1, -(-total // pixels))]
