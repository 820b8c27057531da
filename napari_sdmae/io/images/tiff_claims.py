"""What the header of a TIFF claims, checked against what its file can hold, before anything is read by it."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sdmae.io.memory import check_memory

MAX_PAGES = 100_000
"""Most pages of a file; a slide has some tens, a long time series some thousands."""
MAX_TAGS = 4096
COPY = 4
"""Bytes per value of the int32 that labels become."""

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is said by us, in one line


@contextmanager
def opened(path: Path | str) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF that claims nothing impossible; only the pixels in this file are seen, also where its OME-XML names others.

    Raises
    ------
    ValueError
        If its pages go round in a circle, or it has too many pages or tags.
    """
    _check_pages(Path(path))
    with tifffile.TiffFile(path, _multifile=False) as file:
        yield file


def _check_pages(path: Path) -> None:
    """Follow the chain of pages as far as it goes; what is cut short is left to the reader, which tells it better."""
    with path.open("rb") as file:
        head = file.read(16).ljust(16, b"\0")
        order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
        count, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
        place = struct.unpack_from(order + offset, head, 8 if big else 4)[0]
        seen: set[int] = set()
        while place:
            if place in seen:
                raise ValueError("its pages go round in a circle")
            if len(seen) == MAX_PAGES:
                raise ValueError(f"more than {MAX_PAGES:,} pages")
            seen.add(place)
            try:
                file.seek(place)
                tags = struct.unpack(order + count, file.read(struct.calcsize(count)))[0]
                if tags > MAX_TAGS:
                    raise ValueError(f"a page with {tags:,} tags, more than {MAX_TAGS}")
                file.seek(tags * entry, 1)
                place = struct.unpack(order + offset, file.read(struct.calcsize(offset)))[0]
            except (struct.error, OSError, OverflowError):
                return


def check_page(page: Any) -> None:
    """Raise ValueError if the pixels that a page of tifffile claims cannot be in its file."""
    held = page.parent.filehandle.size
    size = f"{page.imagewidth:,} × {page.imagelength:,} px"
    offsets, counts = (np.asarray(values, np.uint64) for values in (page.dataoffsets, page.databytecounts))
    pieces = prod(page.chunked)
    if min(page.imagewidth, page.imagelength) < 1 or len(counts) != len(offsets):
        raise ValueError(f"its header claims {size}, which is no picture")
    whole = page.compression == 1 and page.is_contiguous
    if whole and page.nbytes > held:
        raise ValueError(f"its header claims {size}, {page.nbytes:,} bytes, the file has {held:,}")
    if not whole and len(offsets) < pieces:
        raise ValueError(f"its header claims {size} in {pieces:,} pieces, and tells where {len(offsets):,} of them lie")
    stored = counts > 0  # a piece of no bytes is left out on purpose: it is empty
    if (offsets[stored] >= held).any() or (counts > held).any():
        raise ValueError(f"its header claims {size}, part of which lies behind the end of the file")


def check_series(series: Any) -> None:
    """Raise ValueError if the pixels that a series of tifffile claims cannot be, or need more memory than there is."""
    check_page(series.keyframe)
    size = " × ".join(map(str, series.shape))
    needed = prod(series.shape) * (series.dtype.itemsize + COPY)
    check_memory(needed, f"reading {size} values in one piece", "cut the file into smaller ones")
