"""TIFF, OME-TIFF and pyramids: the largest level as 8-bit RGB, whole or in bands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from napari_sdmae.io.images.intensity import Depth, UnknownKindError, as_rgb8, stated_depth, to_uint8, with_alpha
from napari_sdmae.io.images.scale import Scale, tiff_scale
from napari_sdmae.io.images.tiff_claims import check_page, opened
from napari_sdmae.io.images.tiff_planes import ANY, Chosen, Which, channel_axis, choose
from napari_sdmae.io.memory import check_memory

__all__ = ["TiffPicture", "UnknownKindError", "picture"]

_JPEG = {COMPRESSION.JPEG, COMPRESSION.OJPEG, COMPRESSION.APERIO_JP2000_YCBC, COMPRESSION.APERIO_JP2000_RGB}
"""Compressions whose YCbCr comes out of tifffile as RGB."""
WHOLE_BITS = (1, 8, 16, 32, 64)
OTHER_FILES = "its OME-XML names other files too: only the pixels in this file are seen"


@contextmanager
def picture(path: Path, which: Which = ANY) -> Iterator[TiffPicture]:
    """Open a TIFF and choose the picture in it, by its header alone.

    Raises
    ------
    UnknownKindError
        If there is no such picture.
    ValueError
        If the header claims what cannot be.
    """
    with opened(path) as file:
        chosen = choose(file, which)
        check_page(chosen.level.keyframe)
        yield TiffPicture(file, chosen)


@dataclass(frozen=True)
class TiffPicture:
    """One picture of an open TIFF."""

    file: tifffile.TiffFile
    chosen: Chosen

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in px of the largest level."""
        return self.chosen.size

    @property
    def values(self) -> tuple[int, int]:
        """Values per pixel, and the bytes of each, as they are stored."""
        level = self.chosen.level
        channel = channel_axis(level.axes)
        return level.shape[level.axes.index(channel)] if channel else 1, level.dtype.itemsize

    @property
    def scale(self) -> Scale:
        """µm per pixel, as far as it is stated and believed."""
        return tiff_scale(self.file, self.chosen.image)

    @property
    def orientation(self) -> int:
        """The orientation that the file states, 1 (none) to 8."""
        tag = self.file.pages[0].tags.get("Orientation")
        return int(tag.value) if tag is not None else 1

    @property
    def notes(self) -> list[str]:
        """What must be known of the choice of the picture and of its scale."""
        scale, turned = self.scale.note, orientation_note(self.orientation)
        return [*self.chosen.notes, *([OTHER_FILES] if _names_others(self.file) else []), *turned, *([scale] if scale else [])]

    def read(self, notes: list[str] | None = None) -> NDArray[np.uint8]:
        """Decode the picture: uint8 RGB (H, W, 3).

        Parameters
        ----------
        notes
            What was decided about the range of its values is appended.

        Raises
        ------
        UnknownKindError
            If the channels or colours cannot be shown as RGB.
        """
        page = self.chosen.level.keyframe
        _check_colours(page)
        return _colours(_plane(*self.chosen.decoded()), page, notes)

    @property
    def in_bands(self) -> bool:
        """Whether :meth:`bands` can read it: one 8-bit page, channels interleaved, in strips or tiles."""
        page = self.chosen.level.keyframe
        simple = page.dtype == np.uint8 and page.bitspersample == 8 and page.axes in ("YXS", "YX")
        return simple and channel_axis(self.chosen.level.axes) != "C" and self.chosen.page() is not None

    def bands(self, rows: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the picture in bands of `rows` rows (the last may be lower), decoding only the strips or tiles under one band.

        Raises
        ------
        TooLargeError
            If a row of strips or tiles takes more memory than there is.
        """
        page: Any = self.chosen.page()
        _check_colours(page)
        height = max(_segment_height(page), rows)
        check_memory(
            4 * height * page.imagewidth * page.samplesperpixel,
            f"decoding {height} rows of {page.imagewidth} px, which are stored in one piece,",
            "save it as a tiled TIFF",
        )
        waiting = np.empty((0, page.imagewidth, page.samplesperpixel), np.uint8)
        for strip in _rows_of_segments(page):
            waiting = np.concatenate([waiting, strip])
            while len(waiting) >= rows:
                yield _colours(waiting[:rows], page)
                waiting = waiting[rows:]
        if len(waiting):
            yield _colours(waiting, page)


def orientation_note(orientation: int) -> list[str]:
    """Return what must be said of an EXIF or TIFF orientation, from 1 (none) to 8 (docs/decisions/0020)."""
    if orientation not in range(2, 9):
        return []
    how = "turned by 90°" if orientation >= 5 else "turned or mirrored"
    return [
        f"EXIF orientation {orientation} is not applied: the pixels are read as stored; other programs may show them {how}, and "
        "what was drawn on them there does not fit"
    ]


def _names_others(file: tifffile.TiffFile) -> bool:
    """Return whether the OME-XML speaks of pixels in other files."""
    xml = file.ome_metadata or ""
    return file.is_ome and ("BinaryOnly" in xml or ("<UUID" in xml and not any(one.kind == "ome" for one in file.series)))


def _rows_of_segments(page: Any) -> Iterator[NDArray[np.uint8]]:
    """Yield (segment height, W, samples): all strips or tiles that start in the same row, joined."""
    top, strip = 0, _empty_strip(page, 0)
    for values, index, shape in page.segments(maxworkers=1):
        row, column = index[2], index[3]
        if row != top:
            yield strip
            top, strip = row, _empty_strip(page, row)
        if values is not None:
            height, width = shape[1], shape[2]
            part = strip[:height, column : column + width]
            part[...] = values[0, : part.shape[0], : part.shape[1]]
    yield strip


def _segment_height(page: Any) -> int:
    return int(page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength))


def _empty_strip(page: Any, top: int) -> NDArray[np.uint8]:
    height = min(_segment_height(page), page.imagelength - top)
    return np.zeros((height, page.imagewidth, page.samplesperpixel), np.uint8)


def _plane(values: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return (H, W, channels): channels last, the first plane of every other axis."""
    channel = channel_axis(axes)
    wanted = "YX" + channel
    first = tuple(slice(None) if axis in wanted else 0 for axis in axes)
    left = [axis for axis in axes if axis in wanted]
    plane = values[first].transpose([left.index(axis) for axis in wanted])
    if channel == "C" and plane.shape[-1] not in (1, 3):
        raise UnknownKindError(f"{plane.shape[-1]} channels; expected 1 (grey) or 3 (red, green, blue)")
    return plane if channel else plane[..., None]


def _check_colours(page: Any) -> None:
    known = {PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE, PHOTOMETRIC.SEPARATED}
    decoded = page.photometric == PHOTOMETRIC.YCBCR and page.compression in _JPEG
    if page.photometric not in known and not decoded:
        name = getattr(page.photometric, "name", page.photometric)
        raise UnknownKindError(f"colours stored as {name}; expected grey, RGB, palette or CMYK: save it as RGB")


def _colours(values: NDArray[Any], page: Any, notes: list[str] | None = None) -> NDArray[np.uint8]:
    """Turn stored samples (H, W, samples) of `page` into uint8 RGB (H, W, 3)."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        table = page.colormap if page.colormap.max() < 256 else page.colormap >> 8  # some programs write 8 bits, not 16
        return np.ascontiguousarray(table.astype(np.uint8).T[values[..., 0]])
    depth = _packed(page)
    if page.photometric == PHOTOMETRIC.SEPARATED:
        inks = to_uint8(values[..., :4], depth, notes)
        return np.asarray(Image.fromarray(np.ascontiguousarray(inks), "CMYK").convert("RGB"))
    if depth is not None:
        values = to_uint8(values, depth, notes)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        return np.asarray(255 - as_rgb8(values[..., :1], notes))
    return _without_extra_samples(values, page, notes)


def _packed(page: Any) -> Depth | None:
    """Return the range of values whose bits are packed, such as 4 or 12 for each, which the file states; else None."""
    bits = page.bitspersample
    return stated_depth(bits) if bits not in WHOLE_BITS and page.dtype.kind in "ui" else None


def _without_extra_samples(values: NDArray[Any], page: Any, notes: list[str] | None) -> NDArray[np.uint8]:
    """Lay transparency on white; drop samples beyond grey or RGB that are no transparency."""
    kinds = page.extrasamples
    colours = values.shape[-1] - (len(kinds) if values.shape[-1] > len(kinds) else 0)
    if not kinds or kinds[0] == EXTRASAMPLE.UNSPECIFIED:
        return as_rgb8(values[..., :colours], notes)
    premultiplied = kinds[0] == EXTRASAMPLE.ASSOCALPHA
    return as_rgb8(with_alpha(values[..., : colours + 1], notes, premultiplied))
