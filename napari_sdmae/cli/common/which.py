"""Which picture of a file is meant, as flags of the commands that read pictures, and what must be said of the picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sdmae.cli.common.parser import UsageError

if TYPE_CHECKING:
    from napari_sdmae.io.images.tiff_planes import Which


def add_which(parser: argparse.ArgumentParser) -> None:
    """Add ``--scene`` and ``--plane``."""
    parser.add_argument("--scene", type=int, metavar="N", help="of files with several pictures, from 1 (default: the largest)")
    parser.add_argument("--plane", type=int, metavar="N", help="of stacks and several pages, from 1 (default: the first)")


def which_of(arguments: argparse.Namespace) -> Which:
    """Return which picture the flags mean.

    Raises
    ------
    UsageError
        If a number is below 1.
    """
    from napari_sdmae.io.images.tiff_planes import Which

    for name in ("scene", "plane"):
        if (number := getattr(arguments, name)) is not None and number < 1:
            raise UsageError(f"--{name} {number}: expected 1 or more")
    return Which(arguments.scene, arguments.plane)


def tell(prog: str, path: Path, notes: Iterable[str]) -> None:
    """Print what must be known of a picture, a line for each sentence."""
    for note in dict.fromkeys(notes):
        print(f"{prog}: {path}: note: {note}", file=sys.stderr, flush=True)
