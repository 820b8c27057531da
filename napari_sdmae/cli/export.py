"""``sdmae export LABELS --output FILE …``: labels from one format to others."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from napari_sdmae.cli._output import Refused, check_scale, guarded

PROG = "sdmae export"
DESCRIPTION = (
    "Convert labels: GeoJSON of QuPath or of this program, OME-TIFF, OME-Zarr, PNG (with NAME.classes.json), COCO JSON "
    "to any of these and to a CSV table. The format follows the end of the name."
)
FORMATS = ("geojson", "ome-tiff", "ome-zarr", "png", "coco", "coco-polygons", "csv")


def main(argv: list[str]) -> int:
    """Run ``sdmae export``; return the exit status."""
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        status = guarded(PROG, lambda: _write(arguments))
    for note in notes:
        if issubclass(note.category, UserWarning):
            print(f"{PROG}: note: {note.message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROG, description=DESCRIPTION)
    parser.add_argument("labels", metavar="LABELS", type=Path, help="GeoJSON, OME-TIFF, OME-Zarr, PNG or COCO JSON")
    parser.add_argument("--output", metavar="FILE", type=Path, nargs="+", required=True, help="one file or several")
    parser.add_argument("--format", choices=FORMATS, help="of the output (default: by the end of its name)")
    parser.add_argument("--object-type", choices=("annotation", "detection", "cell"), help="GeoJSON: what it is in QuPath")
    parser.add_argument("--mpp", type=float, help="µm per full-resolution pixel (default: as the file says)")
    parser.add_argument("--bounds", metavar="SLIDE", type=Path, help="GeoJSON: the slide, where QuPath crops it to its bounds")
    parser.add_argument("--shape", type=int, nargs=2, metavar=("ROWS", "COLS"), help="size of the labels drawn from GeoJSON")
    parser.add_argument("--step", type=float, help="full-resolution px per label pixel drawn from GeoJSON (default: 1)")
    parser.add_argument("--instances", action=argparse.BooleanOptionalAction, default=None, help="each label is one object")
    parser.add_argument("--overwrite", action="store_true", help="replace files of earlier calls")
    return parser


def _write(arguments: argparse.Namespace) -> list[Path]:
    """Read, write and return the paths written."""
    check_scale(arguments.mpp)
    _check(arguments)
    from napari_sdmae.io.labels import check_target, export_labels, format_of, import_labels

    formats = [format_of(path, arguments.format) for path in arguments.output]
    if there := [str(path) for path in arguments.output if path.is_file() and not arguments.overwrite]:
        raise Refused(f"{', '.join(there)} already there: give --overwrite or another --output")
    for path, known in zip(arguments.output, formats, strict=True):
        check_target(path, known)
    options = {"object_type": arguments.object_type, "bounds": arguments.bounds}
    drawn: dict[str, Any] = {"shape": None if arguments.shape is None else tuple(arguments.shape), "step": arguments.step}
    if format_of(arguments.labels) == "geojson":
        drawn["bounds"] = arguments.bounds
    label_map = import_labels(arguments.labels, mpp=arguments.mpp, instances=arguments.instances, **drawn)
    written: list[Path] = []
    for path, known in zip(arguments.output, formats, strict=True):
        own = options if known == "geojson" or "geojson" not in formats else {}
        written += export_labels(label_map, path, format=known, overwrite=arguments.overwrite, **own)
    return written


def _check(arguments: argparse.Namespace) -> None:
    if arguments.shape is not None and min(arguments.shape) < 1:
        raise Refused(f"--shape {arguments.shape[0]} {arguments.shape[1]}: expected rows and columns, each 1 or more")
    if arguments.step is not None and not 0 < arguments.step < 1e6:
        raise Refused(f"--step {arguments.step:g}: expected full-resolution pixels per label pixel, above 0")
    outputs = [path.resolve() for path in arguments.output]
    if arguments.labels.resolve() in outputs:
        raise Refused(f"--output {arguments.labels} is the file that is read: give another name")
    if len(set(outputs)) < len(outputs):
        raise Refused("--output names one file twice")
