"""Flat images as 8-bit RGB arrays: PNG, JPEG, BMP by Pillow and libjpeg-turbo, TIFF by tifffile.

Pixels are taken as they are stored: EXIF orientation and colour profiles are not applied (docs/decisions/0020), so that
coordinates agree with napari, QuPath and ImageJ. Never torchvision.io: a PNG with one flipped byte makes it crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_sdmae.io import tiff
from napari_sdmae.io.intensity import as_rgb8
from napari_sdmae.io.scale import plausible_mpp, tiff_mpp

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
MAX_PIXELS = 1_000_000_000
"""Largest image decoded in one piece (3 GB as RGB). Pillow's own, lower limit stays in force for PNG and BMP."""

RGB = NDArray[np.uint8]


class UnusableImage(ValueError):
    """A file that cannot be used as an image; the message is the reason, in plain words, without the file's name."""


def read_image(path: Path | str) -> RGB:
    """Decode the image, or the largest level of a pyramid.

    Parameters
    ----------
    path
        PNG, JPEG, TIFF or BMP; 1, 8 or 16 bits or float; grey, RGB, palette or CMYK; transparency is laid on white.

    Returns
    -------
    ndarray
        uint8 RGB, shape (H, W, 3).

    Raises
    ------
    UnusableImage
        If the file is missing, empty, damaged, not an image, too large to decode in one piece, or of an unknown kind.
    """
    path = Path(path)
    with plain_reasons(path):
        if is_tiff(path):
            height, width = tiff.size(path)
            _check_pixels(height, width, "cut it into smaller images")
            return tiff.read(path)
        return _read_jpeg(path) if _is_jpeg(path) else _read_other(path)


def image_size(path: Path | str) -> tuple[int, int]:
    """Return (height, width) in px of what :func:`read_image` returns, from the header alone.

    Raises
    ------
    UnusableImage
        If the header cannot be read.
    """
    path = Path(path)
    with plain_reasons(path):
        if is_tiff(path):
            return tiff.size(path)
        with Image.open(path) as image:
            return image.height, image.width


def read_mpp(path: Path | str) -> float | None:
    """Return the µm/px that the file states, or None where it states none or one outside 0.05-20 µm/px.

    Raises
    ------
    UnusableImage
        If the header cannot be read.
    """
    path = Path(path)
    with plain_reasons(path):
        if is_tiff(path):
            with tifffile.TiffFile(path) as file:
                return tiff_mpp(file)
        with Image.open(path) as image:
            dpi = float(image.info.get("dpi", (0, 0))[0])
            return plausible_mpp(25_400 / dpi) if dpi > 0 else None


def read_bands(path: Path | str, rows: int) -> Iterator[RGB]:
    """Yield the image from top to bottom in bands of `rows` rows (the last may be lower), each uint8 RGB (rows, W, 3).

    An 8-bit TIFF in strips or tiles is decoded piece by piece, so that its size is limited by the disk alone; every other
    file is decoded in one piece first, up to `MAX_PIXELS`.

    Raises
    ------
    UnusableImage
        As :func:`read_image`.
    """
    path = Path(path)
    with plain_reasons(path):
        if is_tiff(path) and tiff.readable_in_bands(path):
            yield from tiff.bands(path, rows)
            return
    image = read_image(path)
    for start in range(0, len(image), rows):
        yield image[start : start + rows]


def is_tiff(path: Path) -> bool:
    """Return whether the file starts as a TIFF or BigTIFF does, whatever its name says."""
    return _first_bytes(path)[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _is_jpeg(path: Path) -> bool:
    return _first_bytes(path)[:3] == b"\xff\xd8\xff"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(32)
    if not start:
        raise UnusableImage("the file is empty")
    return start


def _check_pixels(height: int, width: int, advice: str) -> None:
    if height * width > MAX_PIXELS:
        raise UnusableImage(
            f"{width} × {height} px are {height * width / 1e6:,.0f} megapixels; at most {MAX_PIXELS / 1e6:,.0f} "
            f"can be decoded in one piece: {advice}"
        )


def _read_jpeg(path: Path) -> RGB:
    data = path.read_bytes()
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        _check_pixels(height, width, "save it as an 8-bit tiled TIFF")
        if space in ("YCbCr", "RGB", "Gray"):
            decoded: RGB = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
            return decoded
    except UnusableImage:
        raise
    except ValueError:
        pass  # odd but readable JPEGs are left to Pillow, which also finds the reason if they are broken
    return _read_other(path)


def _read_other(path: Path) -> RGB:
    if _is_deep_png(_first_bytes(path)):
        return as_rgb8(imagecodecs.png_decode(path.read_bytes()))
    with Image.open(path) as image:
        return _flatten(image)


def _is_deep_png(start: bytes) -> bool:
    """Return whether a PNG has 16 bits per channel, of which Pillow keeps only the upper 8 in colour images."""
    return start.startswith(b"\x89PNG\r\n\x1a\n") and start[24] == 16


def _flatten(image: Image.Image) -> RGB:
    if image.mode.startswith(("I", "F")):
        return as_rgb8(np.asarray(image))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def plain_reasons(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a bad file into `UnusableImage`: decoders raise nearly every exception there is."""
    try:
        yield
    except UnusableImage:
        raise
    except FileNotFoundError:
        raise UnusableImage("there is no such file") from None
    except PermissionError:
        raise UnusableImage("you may not read this file") from None
    except IsADirectoryError:
        raise UnusableImage("this is a folder, not an image") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UnusableImage(
            f"more than {limit:,.0f} megapixels, which is too many for this format: save it as an 8-bit tiled TIFF"
        ) from None
    except UnidentifiedImageError:
        raise UnusableImage("not a PNG, JPEG, TIFF or BMP image, or its beginning is damaged") from None
    except MemoryError:
        raise UnusableImage("not enough memory to decode it in one piece: save it as an 8-bit tiled TIFF") from None
    except tiff.UnknownKind as error:
        raise UnusableImage(str(error)) from None
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise UnusableImage(f"damaged or cut short ({reason[0] if reason else type(error).__name__})") from error
