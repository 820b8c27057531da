"""How many tiles there will be, from decoding all images of a small source or some images of a large one."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import ReadableImage, Survey
from napari_sdmae.data.notes import Note, Variety, gather
from napari_sdmae.data.tiles.decode import decode_in_order
from napari_sdmae.data.tiles.grid import tile_count
from napari_sdmae.io.images.read import InvalidImageError

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
    notes
        What must be known of the sampled images.
    warnings
        What must be known of the tiles.
    """

    tiles: int
    unusable: list[tuple[str, str]]
    mpps: list[float]
    complete: bool
    notes: list[Note]
    warnings: list[str]


def sample_tiles(found: Survey, settings: TilesConfig) -> Sample:
    """Decode images spread evenly over the source, about `SAMPLED_PIXELS` in all, and scale up what they give."""
    counts = {image.file.name: tile_count(*image.header.size, found.edge) for image in found.readable}
    chosen = _spread(found.readable, SAMPLED_PIXELS)
    kept, unusable, mpps = 0, [], []
    variety, notes = Variety(), []
    for file, decode in decode_in_order(chosen, found.edge, settings):
        try:
            chunks, header = decode()
            for tiles, _ in chunks:
                kept += len(tiles)
                variety.add(tiles)
            mpps += [header.mpp] if header.mpp else []
            notes.append((file.name, header.notes))
        except InvalidImageError as error:
            unusable.append((file.name, str(error)))
    total, seen = sum(counts.values()), sum(counts[image.file.name] for image in chosen)
    number = round(kept * total / seen) if seen else 0
    return Sample(number, unusable, mpps, len(chosen) == len(found.readable), gather(notes), variety.warnings)


def _spread(readable: list[ReadableImage], pixels: int) -> list[ReadableImage]:
    """Return every n-th image, at least one, with n so that they have about `pixels` in all."""
    total = sum(prod(image.header.size) for image in readable)
    return readable[:: max(1, -(-total // pixels))]
