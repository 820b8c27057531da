"""``sdmae export LABELS --output FILE …``: labels from one format to others."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path, PurePosixPath
from typing import Any

from napari_sdmae.cli.common.options import add_overwrite, add_scale, check_scale
from napari_sdmae.cli.common.output import guarded
from napari_sdmae.cli.common.parser import UsageError
from napari_sdmae.humanize import slug
from napari_sdmae.io.atomic import clear_leftovers

PROG = "sdmae export"
DESCRIPTION = (
    "Convert labels: GeoJSON of QuPath or of this program, OME-TIFF, OME-Zarr, PNG (with NAME.classes.json), COCO JSON, "
    "nuclei of HoVer-Net "
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
    add_scale(parser, "the labels; of the image at full resolution")
    parser.add_argument("--bounds", metavar="SLIDE", type=Path, help="GeoJSON: the slide, where QuPath crops it to its bounds")
    parser.add_argument("--shape", type=int, nargs=2, metavar=("ROWS", "COLS"), help="size of the labels drawn from GeoJSON")
    parser.add_argument("--step", type=float, help="full-resolution px per label pixel drawn from GeoJSON (default: 1)")
    parser.add_argument("--instances", action=argparse.BooleanOptionalAction, default=None, help="each label is one object")
    parser.add_argument(
        "--image", metavar="NAME", help="COCO: the picture whose labels are read (default: all, NAME in each file)"
    )
    add_overwrite(parser)
    return parser


def _write(arguments: argparse.Namespace) -> list[Path]:
    """Read, write and return the paths written: of a file with labels of several pictures some for each."""
    check_scale(arguments.mpp)
    _check(arguments)
    from napari_sdmae.io.labels.registry import pictures_in

    pictures = [] if arguments.image is not None else pictures_in(arguments.labels)
    if len(pictures) < 2:
        return _write_one(arguments, arguments.output, arguments.image)
    warnings.warn(f"labels of {len(pictures)} pictures: each has files of its own (--image NAME reads one)", stacklevel=2)
    outputs = {name: [_named(path, name) for path in arguments.output] for name in pictures}
    _refuse_there(arguments, [path for paths in outputs.values() for path in paths])
    if len({path for paths in outputs.values() for path in paths}) < len(pictures) * len(arguments.output):
        raise UsageError("pictures of one name in it: give --image with the folders of the picture")
    return [written for name, paths in outputs.items() for written in _write_one(arguments, paths, name)]


def _named(path: Path, picture: str) -> Path:
    """Return `path` with the name of a picture before its end: ``labels.ome.tif`` becomes ``labels-a.ome.tif``."""
    from napari_sdmae.io.labels.registry import FORMATS

    name = slug(str(PurePosixPath(picture.replace("\\", "/")).with_suffix("")), "picture")
    ends = sorted((end for one in FORMATS.values() for end in one.suffixes if path.name.lower().endswith(end)), key=len)
    end = path.name[-len(ends[-1]) :] if ends else path.suffix
    return path.with_name(f"{path.name.removesuffix(end)}-{name}{end}")


def _refuse_there(arguments: argparse.Namespace, outputs: list[Path]) -> None:
    """Refuse what may not be written, before anything is read."""
    from napari_sdmae.io.labels.registry import check_target, format_of

    for folder in {path.parent for path in outputs}:
        clear_leftovers(folder)  # moves what a call that was killed had finished
    if there := [str(path) for path in outputs if path.is_file() and not arguments.overwrite]:
        raise UsageError(f"{', '.join(there)} already there: give --overwrite or another --output")
    for path in outputs:
        check_target(path, format_of(path, arguments.format))


def _write_one(arguments: argparse.Namespace, outputs: list[Path], picture: str | None) -> list[Path]:
    from napari_sdmae.io.labels.registry import export_labels, format_of, format_read, import_labels

    formats = [format_of(path, arguments.format) for path in outputs]
    _refuse_there(arguments, outputs)
    options = {"object_type": arguments.object_type, "bounds": arguments.bounds}
    drawn: dict[str, Any] = {"shape": None if arguments.shape is None else tuple(arguments.shape), "step": arguments.step}
    if format_read(arguments.labels) == "geojson":
        drawn["bounds"] = arguments.bounds
    label_map = import_labels(arguments.labels, mpp=arguments.mpp, instances=arguments.instances, image=picture, **drawn)
    written: list[Path] = []
    for path, known in zip(outputs, formats, strict=True):
        own = options if known == "geojson" or "geojson" not in formats else {}
        written += export_labels(label_map, path, format=known, overwrite=arguments.overwrite, **own)
    return written


def _check(arguments: argparse.Namespace) -> None:
    if arguments.shape is not None and min(arguments.shape) < 1:
        raise UsageError(f"--shape {arguments.shape[0]} {arguments.shape[1]}: expected rows and columns, each 1 or more")
    if arguments.step is not None and not 0 < arguments.step < 1e6:
        raise UsageError(f"--step {arguments.step:g}: expected full-resolution pixels per label pixel, above 0")
    outputs = [path.resolve() for path in arguments.output]
    if arguments.labels.resolve() in outputs:
        raise UsageError(f"--output {arguments.labels} is the file that is read: give another name")
    if len(set(outputs)) < len(outputs):
        raise UsageError("--output names one file twice")
