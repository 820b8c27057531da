"""Images given on the command line, files and folders, and work on each of them that one bad file does not end."""

from __future__ import annotations

import errno
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from napari_sdmae.cli.common.parser import FORESEEN, UNUSABLE_DATA, UsageError
from napari_sdmae.text.errors import error_line
from napari_sdmae.text.spelling import near

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk on which nothing more can be written."""


class UnwritableError(Exception):
    """The one file for all images cannot be written: there is no going on with the next image."""


class Input(NamedTuple):
    """An image, and what its results are called: its path below the folder that was given, without the end."""

    path: Path
    name: str


def gather(given: Sequence[Path]) -> list[Input]:
    """Return the images of all files and folders given, sorted within each folder.

    Raises
    ------
    DataError
        If one does not exist or holds no image.
    UsageError
        If the results of two images would have one name.
    """
    from napari_sdmae.data.image_folder import list_source

    found: list[tuple[Path, Path]] = []
    for source in given:
        listing = list_source(source)
        found += [(file.path, Path(file.name)) for file in listing.images]
        for line in [*listing.warnings, *(f"{name} is left out: {reason}" for name, reason in listing.unreachable)]:
            print(f"{source}: note: {line}", file=sys.stderr)
    stems = [name.with_suffix("") for _, name in found]
    alike = Counter(near(stem.as_posix()) for stem in stems)
    inputs = [
        Input(path, (stem if alike[near(stem.as_posix())] == 1 else name).as_posix())
        for (path, name), stem in zip(found, stems, strict=True)
    ]
    names = Counter(near(one.name) for one in inputs)
    if doubles := [one.name for one in inputs if names[near(one.name)] > 1]:
        raise UsageError(
            f"several images are called {doubles[0]}: give their folders in calls of their own, with another --output"
        )
    return inputs


def for_each(prog: str, inputs: Sequence[Input], work: Callable[[Input], Iterator[Path]]) -> int:
    """Do `work` for each image, print the files that it yields, and go on after one that fails.

    Returns
    -------
    int
        Exit status: 0 if all went well; else 3 if no image could be used, 1 if some were.

    Raises
    ------
    OSError
        If the disk is full: trying the others would be in vain.
    """
    failed, unusable = 0, 0
    for one in inputs:
        try:
            for path in work(one):
                print(path, flush=True)
        except FORESEEN as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            failed += 1
            unusable += isinstance(error, ValueError)
            print(f"{prog}: {named(one.path, error)}", file=sys.stderr, flush=True)
    if failed and len(inputs) > 1:
        print(f"{prog}: {failed} of {len(inputs)} images failed", file=sys.stderr)
    return 0 if not failed else UNUSABLE_DATA if unusable == len(inputs) else 1


def named(path: Path, error: BaseException) -> str:
    """Return the message of an error, with the image it is about."""
    message = error_line(error)
    return message if message.startswith(str(path)) else f"{path}: {message}"
