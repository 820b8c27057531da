"""What must be known of many images: each sentence once, with how many images it is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.images.intensity import is_depth
from napari_sdmae.io.images.scale import is_doubt

ONE_COLOUR = 8
"""Largest difference of a channel (0-255) within a tile that holds nothing but one colour, as the camera sees it."""
MOSTLY = 0.5
"""Share of the tiles from which it is said that they show nothing, or the same."""


class Note(NamedTuple):
    """A sentence, how many images it is about, and one of them."""

    text: str
    images: int
    example: str

    @property
    def words(self) -> str:
        """The whole line."""
        about = self.example if self.images == 1 else f"{self.images:,} images, such as {self.example}"
        return f"{about}: {self.text}"


def gather(notes: Iterable[tuple[str, Iterable[str]]]) -> list[Note]:
    """Return each sentence of (name of an image, its notes) once, in the order in which they came."""
    found: dict[str, Note] = {}
    for name, texts in notes:
        for text in texts:
            known = found.get(text, Note(text, 0, name))
            found[text] = known._replace(images=known.images + 1)
    return list(found.values())


def of_concern(notes: Iterable[Note], mpp: float | None) -> list[Note]:
    """Leave out what doubts a scale where `mpp` is given."""
    return [note for note in notes if mpp is None or not is_doubt(note.text)]


def warnings(notes: Iterable[Note]) -> list[str]:
    """Return the lines that a run warns of: all but those that tell a depth that was understood."""
    return [note.words for note in notes if not is_depth(note.text)]


def is_plain(pixels: NDArray[np.uint8]) -> bool:
    """Return whether a picture, uint8 (H, W, 3), holds nothing but one colour; a sixteenth of its pixels is looked at."""
    small = pixels[::4, ::4].reshape(-1, 3)
    return bool((small.max(0).astype(int) - small.min(0)).max() <= ONE_COLOUR)


class Variety:
    """Whether tiles show anything, and not all the same; they come in parts."""

    def __init__(self) -> None:
        self._tiles = self._plain = 0
        self._distinct: set[int] = set()

    def add(self, tiles: NDArray[np.uint8]) -> None:
        """Take tiles, uint8 (N, H, W, 3)."""
        for tile in tiles:
            self._plain += is_plain(tile)
            self._distinct.add(hash(tile[::4, ::4].tobytes()))
            self._tiles += 1

    @property
    def warnings(self) -> list[str]:
        """A sentence if most tiles hold nothing but one colour, or repeat each other."""
        told, repeated = [], self._tiles - len(self._distinct)
        if self._plain > MOSTLY * self._tiles:
            told.append(
                f"{self._plain:,} of {self._tiles:,} tiles hold nothing but one colour: there is nothing to learn from them"
            )
        if repeated > MOSTLY * self._tiles and self._tiles > 1:
            told.append(f"{self._tiles:,} tiles show only {len(self._distinct):,} different pictures: the others repeat them")
        return told
