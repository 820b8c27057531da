"""Sound pictures of real tissue in every format, and how they are broken. Deterministic from a seed."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

Named = tuple[str, bytes]


def sound(picture: Path) -> dict[str, bytes]:
    """Return a picture of RGB tissue in many formats: bytes by a name that ends in the suffix."""
    with Image.open(picture) as image:
        rgb = image.convert("RGB")
    found = {f"{name}.{kind}": _pillow(rgb.convert(mode), kind, **options) for name, kind, mode, options in PILLOW}
    found["deep.png"] = _deep_png(np.asarray(rgb))
    found |= {f"{name}.tif": _tiff(change(np.asarray(rgb)), **options) for name, change, options in TIFFS}
    return found


PILLOW: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("rgb", "png", "RGB", {}),
    ("grey", "png", "L", {}),
    ("palette", "png", "P", {}),
    ("alpha", "png", "RGBA", {}),
    ("bits", "png", "1", {}),
    ("baseline", "jpg", "RGB", {}),
    ("progressive", "jpg", "RGB", {"progressive": True}),
    ("grey", "jpg", "L", {}),
    ("cmyk", "jpg", "CMYK", {}),
    ("rgb", "bmp", "RGB", {}),
    ("palette", "bmp", "P", {}),
    ("bits", "bmp", "1", {}),
)
RGB: dict[str, Any] = {"photometric": "rgb"}
TIFFS: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ("strips", lambda rgb: rgb, RGB | {"rowsperstrip": 16}),
    ("tiles", lambda rgb: rgb, RGB | {"tile": (32, 32)}),
    ("lzw", lambda rgb: rgb, RGB | {"compression": "lzw", "predictor": True}),
    ("deflate", lambda rgb: rgb, RGB | {"compression": "zlib", "tile": (32, 32)}),
    ("jpeg", lambda rgb: rgb, RGB | {"compression": "jpeg", "tile": (32, 32)}),
    ("packbits", lambda rgb: rgb, RGB | {"compression": "packbits"}),
    ("zstd", lambda rgb: rgb, RGB | {"compression": "zstd"}),
    ("big", lambda rgb: rgb, RGB | {"bigtiff": True}),
    ("motorola", lambda rgb: rgb, RGB | {"byteorder": ">"}),
    ("planes", lambda rgb: rgb.transpose(2, 0, 1).copy(), RGB | {"planarconfig": "separate"}),
    ("deep", lambda rgb: rgb.astype(np.uint16) * 16, RGB),
    ("float", lambda rgb: rgb[..., 0].astype(np.float32) / 255, {"photometric": "minisblack"}),
    ("double", lambda rgb: rgb[..., 0].astype(np.float64), {"photometric": "minisblack"}),
    ("signed", lambda rgb: rgb[..., 0].astype(np.int16), {"photometric": "minisblack"}),
    ("grey", lambda rgb: rgb[..., 0].copy(), {"photometric": "minisblack"}),
    ("white-zero", lambda rgb: rgb[..., 0].copy(), {"photometric": "miniswhite"}),
    ("bits", lambda rgb: rgb[..., 0] > 128, {"photometric": "minisblack"}),
    ("labels", lambda rgb: (rgb[..., 0] > 128).astype(np.uint16), {"photometric": "minisblack", "compression": "zlib"}),
    ("palette", lambda rgb: rgb[..., 0].copy(), {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}),
    ("pages", lambda rgb: np.stack([rgb] * 3), RGB),
    ("ome", lambda rgb: rgb, RGB | {"ome": True}),
    ("imagej", lambda rgb: rgb, {"imagej": True}),
)


def _pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG"}.get(kind, kind.upper()), **options)
    return file.getvalue()


def _tiff(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def _deep_png(rgb: np.ndarray) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb.astype(np.uint16) * 257)
    return png(rgb.shape[1], rgb.shape[0], 16, 2, zlib.compress(rows))


def png(width: int, height: int, depth: int, kind: int, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with these numbers in its header, sound or not, and `more` chunks before its data."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", data), (b"IEND", b"")]
    parts = [struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# --- how they are broken ------------------------------------------------------------------------------------------------------


def truncated(data: bytes, rng: np.random.Generator) -> Iterator[Named]:
    """Yield the file cut short: nothing, its first bytes, its header, most of it."""
    for length in (8, 40, len(data) // 3, int(rng.integers(len(data) // 2, len(data) - 1))):
        yield f"at-{length}", data[:length]


def flipped(data: bytes, rng: np.random.Generator) -> Iterator[Named]:
    """Yield the file with bytes flipped: in the header, in the body, at the end where TIFF may keep its directory."""
    parts = {"head": (4, min(220, len(data))), "body": (len(data) // 4, len(data)), "tail": (max(len(data) - 220, 4), len(data))}
    for name, (low, high) in parts.items():
        for number in range(2):
            changed = bytearray(data)
            for place in rng.integers(low, high, 3):
                changed[place] ^= int(rng.integers(1, 256))
            yield f"{name}-{number}", bytes(changed)


TAGS = {
    "width": 256,
    "height": 257,
    "bits": 258,
    "compression": 259,
    "photometric": 262,
    "offsets": 273,
    "samples": 277,
    "rows-per-strip": 278,
    "byte-counts": 279,
    "planar": 284,
    "predictor": 317,
    "tile-width": 322,
    "tile-height": 323,
    "tile-offsets": 324,
    "sample-format": 339,
}


def absurd_tags(data: bytes) -> Iterator[Named]:
    """Yield a little-endian classic TIFF with one number of its first directory set to what it cannot be."""
    for name, place in sorted(_entries(data).items()):
        for value in (0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF):
            changed = bytearray(data)
            struct.pack_into("<HII", changed, place + 2, 4, 1, value)
            yield f"{name}-{value}", bytes(changed)


def loops(data: bytes) -> Iterator[Named]:
    """Yield a TIFF whose list of directories runs in a circle, into nothing, or is endless."""
    first = struct.unpack_from("<I", data, 4)[0]
    end = first + 2 + 12 * struct.unpack_from("<H", data, first)[0]
    for name, target in {"itself": first, "header": 0, "beyond": len(data) + 1000, "middle": first + 2, "odd": 1}.items():
        changed = bytearray(data)
        struct.pack_into("<I", changed, end if name != "header" else 4, target)
        yield name, bytes(changed)
    changed = bytearray(data)
    struct.pack_into("<H", changed, first, 0xFFFF)
    yield "endless", bytes(changed)
    copy = data[first:end] + struct.pack("<I", len(data) + end - first + 4)
    yield (
        "thousands",
        data[:end] + struct.pack("<I", len(data)) + data[end + 4 :] + _chain(data[first:end], len(data), 3000) + copy[:0],
    )


def _chain(directory: bytes, start: int, count: int) -> bytes:
    """Return `count` copies of a directory, each leading to the next."""
    length = len(directory) + 4
    return b"".join(
        directory + struct.pack("<I", start + (number + 1) * length if number + 1 < count else 0) for number in range(count)
    )


def _entries(data: bytes) -> dict[str, int]:
    """Return where the entries of the first directory of a classic little-endian TIFF stand, by name."""
    first = struct.unpack_from("<I", data, 4)[0]
    names = {number: name for name, number in TAGS.items()}
    places = [first + 2 + 12 * number for number in range(struct.unpack_from("<H", data, first)[0])]
    return {names[tag]: place for place in places if (tag := struct.unpack_from("<H", data, place)[0]) in names}
