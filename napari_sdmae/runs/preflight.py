"""What is known before a run starts: the memory it takes, tiles as the model will see them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MemoryNeed:
    """What training takes and what there is.

    Attributes
    ----------
    needed, free
        Bytes.
    device
        cpu, cuda or mps.
    tiles_at_once
        How many fit; 0 if not even one does.
    line
        The same in words, with what to do where it is too much.
    """

    needed: int
    free: int
    device: str
    tiles_at_once: int
    line: str


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """Tiles as training would see them.

    Attributes
    ----------
    tiles, masked
        uint8 (N, S, S, 3).
    mask
        bool (N, rows, columns), True = masked.
    files
        Name of each tile's image.
    tile_size, patch_size
        Pixels.
    """

    tiles: NDArray[np.uint8]
    masked: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    files: tuple[str, ...]
    tile_size: int
    patch_size: int
