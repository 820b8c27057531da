"""``sdmae unpack PCAM --output FOLDER``: PatchCamelyon's HDF5 files to a folder of images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from napari_sdmae.cli.common.output import guarded
from napari_sdmae.cli.common.parser import UsageError

PROG = "sdmae unpack"
DESCRIPTION = (
    "Unpack PatchCamelyon (PCam) as published, camelyonpatch_level_2_split_*.h5, to a folder of PNG images that all commands "
    "read: train, validation and test, in each a folder for each class, and slides.csv. Needs the package h5py (extra pcam)."
)


def main(argv: list[str]) -> int:
    """Run ``sdmae unpack``; return the exit status."""
    parser = argparse.ArgumentParser(prog=PROG, description=DESCRIPTION)
    parser.add_argument(
        "source", metavar="PCAM", type=Path, help="folder with the .h5 files, and the .csv files if they are there"
    )
    parser.add_argument("--output", metavar="FOLDER", type=Path, required=True, help="new folder")
    arguments = parser.parse_args(argv)
    return guarded(PROG, lambda: _unpack(arguments.source.expanduser(), arguments.output.expanduser()))


def _unpack(source: Path, output: Path) -> list[Path]:
    """Write the images, saying on stderr how far it is; return the folder."""
    from napari_sdmae.data.labelled.layouts.pcam import unpack

    tenth = -1
    try:
        for progress in unpack(source, output):
            before, tenth = tenth, progress.done * 10 // progress.total
            if tenth != before:
                print(f"{progress.message}: {progress.done:,} of {progress.total:,}", file=sys.stderr, flush=True)
    except FileExistsError as error:
        raise UsageError(str(error)) from None
    return [output]
