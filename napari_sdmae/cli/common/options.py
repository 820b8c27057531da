"""Options that several commands take: each has one name, one range and one text.

``convert`` has an ``--mpp`` and an ``--overwrite`` of its own: they are about models, not pictures and results.
"""

from __future__ import annotations

import argparse
from typing import get_args

from napari_sdmae.cli.common.parser import UsageError
from napari_sdmae.config.base import Device, Precision
from napari_sdmae.config.limits import implausible


def add_scale(parser: argparse.ArgumentParser, where: str = "the files") -> None:
    """Add ``--mpp``; `where` the scale is read from when it is not given."""
    parser.add_argument("--mpp", type=float, help=f"scale of the images in µm/px (default: read from {where})")


def check_scale(mpp: float | None) -> None:
    """Raise `UsageError` unless `mpp`, of :func:`add_scale`, is None or plausible."""
    if mpp is not None and (doubt := implausible(mpp)):
        raise UsageError(f"--mpp {doubt}")


def add_region(parser: argparse.ArgumentParser) -> None:
    """Add ``--region``."""
    place = ("ROW", "COL", "HEIGHT", "WIDTH")
    parser.add_argument("--region", nargs=4, type=int, metavar=place, help="part of the image, in px")


def add_batch(parser: argparse.ArgumentParser, default: int = 16) -> None:
    """Add ``--batch``."""
    told = "tiles computed at once (default: %(default)s); more is faster and takes more memory"
    parser.add_argument("--batch", type=int, metavar="TILES", default=default, help=told)


def check_batch(batch: int) -> None:
    """Raise `UsageError` unless `batch`, of :func:`add_batch`, is a number of tiles."""
    if batch < 1:
        raise UsageError(f"--batch {batch}: expected 1 or more")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="auto: the GPU when there is one")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add ``--precision``."""
    told = "auto: bf16 where a probe shows that it pays"
    parser.add_argument("--precision", choices=get_args(Precision), default="auto", help=told)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace files of earlier calls")
