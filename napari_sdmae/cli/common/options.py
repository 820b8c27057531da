"""Options that several commands take: each has one name, one range and one text."""

from __future__ import annotations

import argparse
from typing import get_args

from napari_sdmae.config.base import Device, Precision


def add_scale(parser: argparse.ArgumentParser, where: str = "the files") -> None:
    """Add ``--mpp``; `where` the scale is read from when it is not given."""
    parser.add_argument("--mpp", type=float, help=f"scale of the images in µm/px (default: read from {where})")


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
