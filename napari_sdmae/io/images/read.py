"""Flat images as 8-bit RGB arrays: PNG, JPEG, BMP by Pillow and libjpeg-turbo, TIFF by tifffile.

Pixels are taken as they are stored: EXIF orientation and colour profiles are not applied (docs/decisions/0020), so that
coordinates agree with napari, QuPath and ImageJ. Never torchvision.io: a PNG with one flipped byte makes it crash.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from napari_sdmae.humanize import size
from napari_sdmae.io.images import tiff
from napari_sdmae.io.images.intensity import Brightness, as_rgb8, brightness_notes
from napari_sdmae.io.images.scale import info_scale
from napari_sdmae.io.images.tiff_planes import ANY, Which
from napari_sdmae.io.memory import TooLargeError, check_memory, read_whole
from napari_sdmae.io.regular_files import ENDLESS, is_endless
from napari_sdmae.moved import renamed
from napari_sdmae.typing import RGB

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
MAX_PIXELS = 1_000_000_000
"""Largest image decoded in one piece (3 GB as RGB). Pillow's own, lower limit stays in force for PNG and BMP."""
LARGEST_FLAT = 4_000_000_000
"""Bytes of a file that is no TIFF."""
SMALLER = "cut it into smaller images, or save it as an 8-bit tiled TIFF, of which parts can be read"
ORIENTATION = 0x0112
"""Tag of EXIF and TIFF."""


class InvalidImageError(ValueError):
    """A file that cannot be used as an image; the message is the reason, in plain words, without the file's name."""


def read_image(path: Path | str, which: Which = ANY, notes: list[str] | None = None) -> RGB:
    """Decode the image, or the largest level of a pyramid.

    Parameters
    ----------
    path
        PNG, JPEG, TIFF or BMP; 1, 8 or 16 bits or float; grey, RGB, palette or CMYK; transparency is laid on white.
    which
        Scene and plane of a TIFF that holds several.
    notes
        What was decided about its values, and what must be known of them, is appended.

    Returns
    -------
    ndarray
        uint8 RGB, shape (H, W, 3).

    Raises
    ------
    InvalidImageError
        If the file is missing, empty, damaged, not an image, too large to decode in one piece, or of an unknown kind.
    """
    path, told = Path(path), [] if notes is None else notes
    with translate_decoder_errors(path):
        return _decode(path, _first_bytes(path), which, told)


def _decode(path: Path, start: bytes, which: Which, notes: list[str]) -> RGB:
    """Decode a file that begins with `start`."""
    if _starts_tiff(start):
        with tiff.picture(path, which) as one:
            check_decoding(*one.size, *one.values)
            image = one.read(notes)
    else:
        image = _read_flat(path, start, which, notes)
    notes += brightness_notes(image)
    return image


class Header(NamedTuple):
    """What a header states: (height, width) in px, µm/px (None: nothing that is believed), and what must be known of the file."""

    size: tuple[int, int]
    mpp: float | None
    notes: list[str]


def read_header(path: Path | str, which: Which = ANY) -> Header:
    """Return size, scale, and what must be known: which picture of several is used, its orientation, why a scale is not believed.

    Opens a flat file once: of a folder of 50,000 images, opening costs more than reading.

    Raises
    ------
    InvalidImageError
        If the header cannot be read.
    """
    path = Path(path)
    with translate_decoder_errors(path):
        with path.open("rb") as file:
            start = _start_of(file)
            if not _starts_tiff(start):
                _check_single(which)
                return _flat_header(_opened(file))
        with tiff.picture(path, which) as one:
            return Header(one.size, one.scale.mpp, one.notes)


def _flat_header(image: Image.Image) -> Header:
    scale = info_scale(image.info)
    notes = tiff.orientation_note(_orientation(image))
    frames = getattr(image, "n_frames", 1) if image.format == "PNG" else 1
    notes += [f"frame 1 of {frames} is used"] if frames > 1 else []
    return Header((image.height, image.width), scale.mpp, [*notes, *([scale.note] if scale.note else [])])


def image_size(path: Path | str, which: Which = ANY) -> tuple[int, int]:
    """Return (height, width) in px of what :func:`read_image` returns, by the header alone; errors as of :func:`read_header`."""
    return read_header(path, which).size


def orientation(path: Path | str) -> int:
    """Return the orientation that the file states, 1 (none) to 8; it is not applied.

    Raises
    ------
    InvalidImageError
        If the header cannot be read.
    """
    path = Path(path)
    with translate_decoder_errors(path):
        if is_tiff(path):
            with tiff.picture(path) as one:
                return one.orientation
        with open_flat(path) as image:
            return _orientation(image)


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # behind the pixels, if anywhere: Pillow would decode them to look
    stated = image.getexif().get(ORIENTATION, 1)
    return stated if isinstance(stated, int) else 1


def read_mpp(path: Path | str) -> float | None:
    """Return the µm/px that the file states; None where it states none, or one that is not believed (:func:`read_header`)."""
    return read_header(path).mpp


def read_bands(path: Path | str, rows: int, which: Which = ANY, notes: list[str] | None = None) -> Iterator[RGB]:
    """Yield the image from top to bottom in bands of `rows` rows (the last may be lower), each uint8 RGB (rows, W, 3).

    An 8-bit TIFF in strips or tiles is decoded piece by piece, so that its size is limited by the disk alone; every other
    file is decoded in one piece first, up to `MAX_PIXELS`.

    Parameters
    ----------
    which, notes
        As of :func:`read_image`; the notes are complete when the last band came.

    Raises
    ------
    InvalidImageError
        As :func:`read_image`.
    """
    path, told = Path(path), [] if notes is None else notes
    with translate_decoder_errors(path):
        start = _first_bytes(path)
        if _starts_tiff(start):
            with tiff.picture(path, which) as one:
                if one.in_bands:
                    brightness = Brightness()
                    for band in one.bands(rows):
                        brightness.add(band)
                        yield band
                    told += brightness.notes
                    return
        image = _decode(path, start, which, told)
    for top in range(0, len(image), rows):
        yield image[top : top + rows]


def is_tiff(path: Path) -> bool:
    """Return whether the file starts as a TIFF or BigTIFF does, whatever its name says."""
    return _starts_tiff(_first_bytes(path))


def _starts_tiff(start: bytes) -> bool:
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_flat(path: Path) -> Image.Image:
    """Open a picture that is no TIFF.

    Raises
    ------
    InvalidImageError
        If the file is larger than :data:`LARGEST_FLAT`: Pillow would look for the header of a damaged one to its very end.
    """
    _check_flat(path.stat().st_size)
    return Image.open(path)


def _opened(file: BinaryIO) -> Image.Image:
    """Return :func:`open_flat` of an open file."""
    _check_flat(os.fstat(file.fileno()).st_size)
    return Image.open(file)


def _check_flat(stored: int) -> None:
    if stored > LARGEST_FLAT:
        raise InvalidImageError(f"larger than {size(LARGEST_FLAT)}, which is too much for this format: save it as a tiled TIFF")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return _start_of(file)


def _start_of(file: BinaryIO) -> bytes:
    """Return the first bytes of an open file, and go back to its beginning."""
    start = file.read(32)
    if not start:
        raise InvalidImageError("the file is empty")
    file.seek(0)
    return start


def check_decoding(height: int, width: int, values: int = 3, bytes_each: int = 1, advice: str = SMALLER) -> None:
    """Raise if an image is too large to be decoded in one piece: asked before it is, in every path that does so.

    Parameters
    ----------
    height, width
        px.
    values, bytes_each
        Values per pixel and their bytes, as they are stored.
    advice
        What to do instead.

    Raises
    ------
    InvalidImageError
        If it has more than `MAX_PIXELS`.
    TooLargeError
        If it needs more memory than there is.
    """
    if height * width > MAX_PIXELS:
        raise InvalidImageError(
            f"{width} × {height} px are {height * width / 1e6:,.0f} megapixels; at most {MAX_PIXELS / 1e6:,.0f} "
            f"can be decoded in one piece: {advice}"
        )
    between = 0 if bytes_each == 1 else 4 * values  # scaled as float32
    needed = height * width * (values * bytes_each + between + 2 * 3)
    check_memory(needed, f"decoding {width} × {height} px in one piece", advice)


def _check_single(which: Which) -> None:
    """Raise if another scene or plane is asked of a file that holds one picture."""
    for what, number in zip(which._fields, which, strict=True):
        if number not in (None, 1):
            raise InvalidImageError(f"{what} {number} was asked for: the file has 1")


def _read_flat(path: Path, start: bytes, which: Which, notes: list[str]) -> RGB:
    """Decode a file that is no TIFF and begins with `start`."""
    _check_single(which)
    return _read_jpeg(path) if start.startswith(b"\xff\xd8\xff") else _read_other(path, notes)


def _read_jpeg(path: Path) -> RGB:
    data = read_whole(path)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        check_decoding(height, width, advice="save it as an 8-bit tiled TIFF")
        if space in ("YCbCr", "RGB", "Gray"):
            decoded: RGB = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
            return decoded
    except (InvalidImageError, TooLargeError):
        raise
    except ValueError:
        pass  # odd but readable JPEGs are left to Pillow, which also finds the reason if they are broken
    return _read_other(path, [])


def _read_other(path: Path, notes: list[str]) -> RGB:
    with open_flat(path) as image:
        deep = png_depth(path) == 16  # of which Pillow keeps the upper 8 bits in colour images
        check_decoding(image.height, image.width, len(image.getbands()), 2 if deep else 1)
        if not deep:
            return _flatten(image, notes)
    return as_rgb8(imagecodecs.png_decode(read_whole(path)), notes)


def png_depth(path: Path) -> int:
    """Return the bits per channel that a PNG states, 0 of another file."""
    start = _first_bytes(path)
    return start[24] if start.startswith(b"\x89PNG\r\n\x1a\n") and len(start) > 24 else 0


def _flatten(image: Image.Image, notes: list[str]) -> RGB:
    if image.mode.startswith(("I", "F")):
        return as_rgb8(np.asarray(image), notes)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def translate_decoder_errors(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a bad file into `InvalidImageError`: decoders raise nearly every exception there is.

    A pipe, which would be waited for, and a device, which never ends, are refused before they are opened.
    """
    if is_endless(path):
        raise InvalidImageError(ENDLESS)
    try:
        yield
    except InvalidImageError:
        raise
    except FileNotFoundError:
        raise InvalidImageError("there is no such file") from None
    except PermissionError:
        raise InvalidImageError("you may not read this file") from None
    except IsADirectoryError:
        raise InvalidImageError("this is a folder, not an image") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise InvalidImageError(
            f"more than {limit:,.0f} megapixels, which is too many for this format: save it as an 8-bit tiled TIFF"
        ) from None
    except UnidentifiedImageError:
        raise InvalidImageError("not a PNG, JPEG, TIFF or BMP image, or its beginning is damaged") from None
    except MemoryError:
        raise InvalidImageError("not enough memory to decode it in one piece: save it as an 8-bit tiled TIFF") from None
    except (tiff.UnknownKindError, TooLargeError) as error:
        raise InvalidImageError(str(error)) from None
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise InvalidImageError(f"damaged or cut short ({reason[0] if reason else type(error).__name__})") from error


__getattr__ = renamed(__name__, UnusableImage="InvalidImageError")
