"""What must be known of labelled images: each is decoded once, so that damage and empty pictures are found before training."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

from napari_sdmae.data.notes import MOSTLY, gather, is_plain, of_concern, warnings
from napari_sdmae.data.tiles.decode import THREADS
from napari_sdmae.io.images.read import InvalidImageError, orientation, read_header, read_image

PLAIN = "holds nothing but one colour"
TURNED = 5
"""Orientations of EXIF from this one on turn the picture by 90°, so that its sides change places."""


def picture_warnings(images: Sequence[tuple[str, Path]], mpp: float | None, decode: bool) -> list[str]:
    """Return what a run must say of its images, each sentence once.

    Parameters
    ----------
    images
        (name, file) of those that are used.
    mpp
        Their scale, where it is given.
    decode
        Whether they are decoded; else only what the headers tell is known.
    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="notes") as pool:
        found = list(pool.map(partial(_notes, decode=decode), [path for _, path in images]))
    told = warnings(of_concern(gather(zip((name for name, _ in images), found, strict=True)), mpp))
    plain = sum(PLAIN in notes for notes in found)
    if plain > MOSTLY * len(images):
        told.append(f"{plain} of {len(images)} images hold nothing but one colour: nothing can be learned from them")
    return told


def _notes(path: Path, decode: bool) -> list[str]:
    try:
        return [*read_header(path).notes, *(decoded(path, *changed(path)) if decode else ())]
    except (InvalidImageError, OSError):
        return []  # said where the image is checked


def changed(path: Path) -> tuple[int, int]:
    """Return what tells that a file changed: its size and its time of change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=500_000)
def decoded(path: Path, size: int, changed: int) -> tuple[str, ...]:
    """Decode an image, forget it and return its notes; a file that did not change is decoded once per process.

    Raises
    ------
    InvalidImageError
        If it is damaged.
    """
    notes: list[str] = []
    pixels = read_image(path, notes=notes)
    return (*notes, *([PLAIN] if is_plain(pixels) else []))


def turned_fits(path: Path, image: tuple[int, int], labels: tuple[int, int]) -> str:
    """Return what explains label images whose size is that of the turned picture; empty if that is not so."""
    stated = orientation(path)
    if stated < TURNED or labels != image[::-1]:
        return ""
    return (
        f": the image has EXIF orientation {stated} and is read as stored, and this fits the turned picture; save the image "
        "turned, without the orientation, or turn the labels back"
    )
