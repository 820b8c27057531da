"""Files that are no pictures though they are called so, pictures of absurd sizes, and things that are no files. From a seed."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from faults.pictures import Named, png


def absurd_sizes(pictures: dict[str, bytes]) -> Iterator[Named]:
    """Yield files whose header states sizes that they do not have."""
    some = zlib.compress(bytes(3000))
    for width, height in ((0, 10), (10, 0), (1, 1), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (65535, 65535), (200_000, 200_000)):
        for depth, kind in ((8, 2), (16, 6), (1, 0)):
            yield f"{width}x{height}-{depth}.png", png(width, height, depth, kind, some)
    for depth, kind in ((3, 2), (8, 5), (255, 255), (16, 3)):
        yield f"kind-{depth}-{kind}.png", png(8, 8, depth, kind, some)
    jpeg = pictures["baseline.jpg"]
    place = jpeg.index(b"\xff\xc0") + 5
    for height, width in ((0, 96), (96, 0), (65535, 65535), (1, 65535)):
        yield f"{width}x{height}.jpg", jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]
    bitmap = pictures["rgb.bmp"]
    for width, height in ((0, 0), (-96, 96), (96, -(2**31)), (2**31 - 1, 2**31 - 1), (70_000, 70_000), (96, -96)):
        yield f"{width}x{height}.bmp", bitmap[:18] + struct.pack("<ii", width, height) + bitmap[26:]
    for bits in (0, 2, 16, 32, 64):
        yield f"bits-{bits}.bmp", bitmap[:28] + struct.pack("<H", bits) + bitmap[30:]


def bombs() -> Iterator[Named]:
    """Yield small files that are very large when unpacked."""
    zeros = zlib.compressobj(9)
    packed = b"".join(zeros.compress(bytes(1_000_000)) for _ in range(300)) + zeros.flush()
    yield "pixels.png", png(10_000, 10_000, 8, 2, packed)
    yield "deep.png", png(7000, 7000, 16, 2, packed)
    yield "text.png", png(8, 8, 8, 2, zlib.compress(bytes(200)), (b"zTXt", b"comment\0\0" + packed))
    yield "profile.png", png(8, 8, 8, 2, zlib.compress(bytes(200)), (b"iCCP", b"profile\0\0" + packed))
    for name, edge, samples in (("strips", 60_000, 3), ("square", 400_000, 1), ("huge", 4_000_000, 3)):
        yield f"{name}.tif", bomb(edge, samples, packed[:100_000])


def bomb(edge: int, samples: int, packed: bytes) -> bytes:
    """Return a deflated TIFF of edge × edge px in one strip that holds little."""
    entries = [
        (256, 4, edge),
        (257, 4, edge),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 2 if samples == 3 else 1),
        (273, 4, 200),
        (277, 3, samples),
        (278, 4, edge),
        (279, 4, len(packed)),
    ]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)
    return head.ljust(200, b"\0") + packed


def pretenders(rng: np.random.Generator) -> Iterator[Named]:
    """Yield files of other kinds under the names of pictures."""
    contents = {
        "empty": b"",
        "one": b"\0",
        "text": b"not an image\n",
        "noise": rng.bytes(5000),
        "nought": bytes(5000),
        "html": b"<html><body>404",
        "zip": b"PK\x03\x04" + rng.bytes(200),
        "pdf": b"%PDF-1.7\n" + rng.bytes(200),
        "gif": b"GIF89a" + struct.pack("<HH", 9, 9) + bytes(50),
        "webp": b"RIFF\x00\x01\x00\x00WEBPVP8 " + rng.bytes(60),
        "tiff": b"II*\0",
        "bigtiff": b"II+\0\x08\0\0\0" + b"\xff" * 8,
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch canary) (w) file\n",
        "svg": b"<svg xmlns='http://x'/>",
        "xml": b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "pickle": b"cos\nsystem\n(S'touch canary'\ntR.",
        "lfs": b"version https://git-lfs",
    }
    for name, content in contents.items():
        for suffix in ("png", "jpg", "tif", "bmp")[:: 1 if name in ("empty", "noise") else 3]:
            yield f"{name}.{suffix}", content


def strange_values(picture: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield pixels that are numbers and yet no picture, to be written as TIFF."""
    grey = picture[..., 0].astype(np.float32)
    yield "nan", np.full_like(grey, np.nan)
    yield "one-nan", np.where(np.arange(grey.size).reshape(grey.shape) == 5, np.nan, grey / 255)
    yield "infinite", np.where(grey > 128, np.inf, grey)
    yield "enormous", grey * np.float32(1e36)
    yield "negative", -grey
    yield "complex", grey.astype(np.complex64)
    yield "half", (grey / 255).astype(np.float16)
    yield "wide", picture[:1].copy()
    yield "two-channels", picture[..., :2].copy()
    yield "nine-channels", np.concatenate([picture] * 3, axis=-1)
    yield "int64", grey.astype(np.int64)
    yield "volume", np.broadcast_to(picture[..., 0], (5, *grey.shape)).copy()
    yield "single", picture[:1, :1].copy()


def things() -> dict[str, Callable[[Path], None]]:
    """Return, by name, how to make what is found in folders besides files."""
    return {
        "folder.png": lambda path: path.mkdir(),
        "fifo.png": os.mkfifo,
        "socket.png": lambda path: _socket(path),
        "loop.png": lambda path: path.symlink_to(path),
        "dangling.tif": lambda path: path.symlink_to("nowhere.tif"),
        "zero.png": lambda path: path.symlink_to("/dev/zero"),
        "random.tif": lambda path: path.symlink_to("/dev/urandom"),
        "stdin.jpg": lambda path: path.symlink_to("/dev/stdin"),
        "fifo.tif": os.mkfifo,
        "sparse.png": lambda path: _sparse(path, b"\x89PNG\r\n\x1a\n"),
        "sparse.tif": lambda path: _sparse(path, b"II*\0\x08\0\0\0"),
        "sparse.jpg": lambda path: _sparse(path, b"\xff\xd8\xff\xe0"),
        "new\nline\x1b[31m.png": lambda path: path.write_bytes(b"no picture"),
        "n\udcffo-text.png": lambda path: path.write_bytes(b"no picture"),
        "l" * 251 + ".png": lambda path: path.write_bytes(b"no picture"),
    }


def _socket(path: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as one:  # its name may only be short
        handle = os.open(path.parent, os.O_RDONLY)
        one.bind(f"/proc/self/fd/{handle}/{path.name}")
        os.close(handle)
    assert Path.cwd() == here


def _sparse(path: Path, start: bytes) -> None:
    with path.open("wb") as file:
        file.write(start)
        file.truncate(40_000_000_000)
