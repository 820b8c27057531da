"""``sdmae predict HEAD INPUT… --output DIR``: apply a head to images: labels, overlays, measurements."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

from napari_sdmae.cli._inputs import UNUSABLE_DATA, Input, for_each, gather
from napari_sdmae.cli._output import Refused, check_scale, save_json, save_png
from napari_sdmae.cli._prediction_files import report, tile_rows, write_boxes, write_probabilities, write_table
from napari_sdmae.cli._which import add_which, tell, which_of
from napari_sdmae.config import Device, Precision

if TYPE_CHECKING:
    from napari_sdmae.head_spec import HeadSpec
    from napari_sdmae.inference.pictures import Picture
    from napari_sdmae.inference.prediction import Prediction

PROG = "sdmae predict"
ENDS = {
    "geojson": "labels.geojson",
    "ome-tiff": "labels.ome.tif",
    "ome-zarr": "labels.ome.zarr",
    "png": "labels.png",
    "coco": "labels.json",
    "coco-polygons": "polygons.json",
    "csv": "measurements.csv",
}
"""What is written in each format: ``IMAGE-`` and this."""
USUAL = {"segmentation": ("geojson", "csv"), "instances": ("geojson", "csv"), "classification": (), "detection": ()}
"""Formats when none are given; besides, classification writes one table for all images, and detection COCO boxes."""
TABLE = "classification.csv"
DESCRIPTION = (
    "Apply a head to images. Writes labels, measurements and an overlay per image; of classification one table for all, of "
    "detection boxes as COCO JSON. A file that cannot be used does not end the others (exit status 3 if none could be used, 1 "
    "if some failed). Not a medical device."
)


def main(argv: list[str]) -> int:
    """Run ``sdmae predict``; return the exit status."""
    arguments = _parser().parse_args(argv)
    from napari_sdmae.data.sources import DataError

    try:
        job = _prepared(arguments)
    except DataError as error:
        return _complain(error, UNUSABLE_DATA)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        return _complain(error, 2)
    except (OSError, RuntimeError) as error:
        return _complain(error, 1)
    status = for_each(PROG, job.inputs, job.predict)
    try:
        if job.rows:
            print(write_table(job.rows, arguments.output / TABLE))
    except OSError as error:
        return _complain(error, 1)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROG, description=DESCRIPTION)
    parser.add_argument("head", metavar="HEAD", help="fine-tuning run or head folder")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="images, or folders of images")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder for the results, made if needed")
    parser.add_argument(
        "--format", nargs="+", choices=list(ENDS), metavar="FORMAT", help=f"{', '.join(ENDS)} (default: geojson csv, by the task)"
    )
    parser.add_argument("--mpp", type=float, help="scale of the images in µm/px (default: read from the files)")
    parser.add_argument("--region", nargs=4, type=int, metavar=("ROW", "COL", "HEIGHT", "WIDTH"), help="part of the image, in px")
    add_which(parser)
    parser.add_argument("--probabilities", action="store_true", help="write them as TIFF, one page for each class")
    parser.add_argument("--cell-expansion", type=float, default=0.0, metavar="UM", help="grow nuclei to cells by so many µm")
    parser.add_argument(
        "--smallest", type=float, metavar="UM2", help="leave out smaller objects, µm² (default: as the head was trained)"
    )
    parser.add_argument("--step", type=int, default=1, help="image pixels per label pixel, for very large images (default: 1)")
    parser.add_argument(
        "--overlay", action=argparse.BooleanOptionalAction, default=True, help="write a picture to look at (default: yes)"
    )
    parser.add_argument("--batch", type=int, default=8, help="windows at once (default: 8)")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="auto: the GPU when there is one")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="auto", help="auto: bf16 where a probe shows that it pays"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files of earlier calls")
    return parser


@dataclass
class Job:
    """What is done with each image.

    Attributes
    ----------
    rows
        Of classification: the rows of the table, one for each tile.
    """

    arguments: argparse.Namespace
    spec: HeadSpec
    model: Any
    options: dict[str, Any]
    inputs: list[Input]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def predict(self, one: Input) -> Iterator[Path]:
        """Predict an image and write its files; yields their paths."""
        from napari_sdmae.inference.measuring import measure
        from napari_sdmae.inference.predicting import predict_picture

        start = perf_counter()
        picture = self._picture(one)
        found = predict_picture(self.model, picture, **self.options)
        tell(PROG, one.path, picture.notes)
        for warning in found.warnings:
            print(f"{PROG}: {one.path}: {warning}", file=sys.stderr)
        if self.spec.task == "classification":
            self.rows += tile_rows(one.path, found)
        elif "csv" in _formats(self.arguments, self.spec) or "geojson" in _formats(self.arguments, self.spec):
            from dataclasses import replace

            found = replace(found, label_map=measure(found.label_map, self._picture(one)))
        yield from self._write(one, found, perf_counter() - start)

    def _picture(self, one: Input) -> Picture:
        """Return the picture from its beginning: each reader goes through it once."""
        from napari_sdmae.inference.pictures import open_picture

        return open_picture(one.path, self.arguments.region, self.arguments.mpp, which_of(self.arguments))

    def _write(self, one: Input, found: Prediction, seconds: float) -> Iterator[Path]:
        from napari_sdmae.cli._overlay import overlay
        from napari_sdmae.io.labels import export_labels

        paths = {end: self.arguments.output / f"{one.name}-{end}" for end in _ends(self.arguments, self.spec)}
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        for name in _formats(self.arguments, self.spec):
            yield from export_labels(found.label_map, paths[ENDS[name]], format=name, overwrite=self.arguments.overwrite)
        if "boxes.json" in paths:
            yield write_boxes(found, one.path, paths["boxes.json"], overwrite=self.arguments.overwrite)
        if "probabilities.tif" in paths and found.probabilities is not None:
            yield write_probabilities(found, paths["probabilities.tif"])
        if "overlay.png" in paths:
            save_png(paths["overlay.png"], overlay(found.label_map, self._picture(one)))
            yield paths["overlay.png"]
        about = {"image": str(one.path), "region": self.arguments.region, "head": str(self.arguments.head)}
        save_json(paths["prediction.json"], about | {"task": self.spec.task} | report(found, seconds))
        yield paths["prediction.json"]


def _prepared(arguments: argparse.Namespace) -> Job:
    """Check all that can be wrong before the first image is done, and load the head.

    Raises
    ------
    Refused, DataError, ValueError, FileNotFoundError
        If something is.
    """
    from napari_sdmae.io.head_info import read_head_spec

    check_scale(arguments.mpp)
    which_of(arguments)
    spec, inputs = read_head_spec(arguments.head), gather(arguments.inputs)
    _check(arguments, spec)
    _check_free(arguments, spec, inputs)
    import torch

    from napari_sdmae.inference.devices import choose_device
    from napari_sdmae.inference.precision import answering
    from napari_sdmae.io.head_folder import load_head

    device = torch.device(choose_device(arguments.device))
    options = {
        "probabilities": arguments.probabilities,
        "cell_expansion_um": arguments.cell_expansion,
        "smallest": arguments.smallest,
        "step": arguments.step,
        "batch": arguments.batch,
        "autocast": answering(device, arguments.precision),
    }
    return Job(arguments, spec, load_head(arguments.head, device), options, inputs)


def _check(arguments: argparse.Namespace, spec: HeadSpec) -> None:
    """Raise `Refused` for options that would have no effect, or are out of bounds."""
    if arguments.probabilities and spec.task in ("classification", "detection"):
        raise Refused(f"--probabilities: a {spec.task} head writes them into its table; leave it out")
    for name in ("cell_expansion", "smallest"):
        if getattr(arguments, name) and spec.task != "instances":
            raise Refused(f"--{name.replace('_', '-')}: a {spec.task} head finds no nuclei; leave it out")
    if arguments.cell_expansion < 0 or (arguments.smallest or 0) < 0:
        raise Refused("--cell-expansion and --smallest: expected 0 or more")
    if arguments.step < 1 or arguments.batch < 1:
        raise Refused(f"--step {arguments.step} --batch {arguments.batch}: expected 1 or more")


def _formats(arguments: argparse.Namespace, spec: HeadSpec) -> tuple[str, ...]:
    return USUAL[spec.task] if arguments.format is None else tuple(dict.fromkeys(arguments.format))


def _ends(arguments: argparse.Namespace, spec: HeadSpec) -> list[str]:
    """Return how the names of the files of one image end."""
    more = {
        "boxes.json": spec.task == "detection",
        "probabilities.tif": arguments.probabilities,
        "overlay.png": arguments.overlay and spec.task != "classification",
        "prediction.json": True,
    }
    return [*(ENDS[name] for name in _formats(arguments, spec)), *(end for end, wanted in more.items() if wanted)]


def _check_free(arguments: argparse.Namespace, spec: HeadSpec, inputs: list[Input]) -> None:
    """Raise `Refused` if a file is there that may not be replaced, or the folder is none."""
    output: Path = arguments.output
    if any(place.is_file() for place in (output, *output.parents)):
        raise Refused(f"--output {output} is a file or lies below one: give a folder")
    names = [f"{one.name}-{end}" for one in inputs for end in _ends(arguments, spec)]
    names += [TABLE] if spec.task == "classification" else []
    there = [name for name in names if (output / name).exists()]
    if there and not arguments.overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise Refused(f"{there[0]}{more} already in {output}: give --overwrite or another --output")
    output.mkdir(parents=True, exist_ok=True)


def _complain(error: Exception, status: int) -> int:
    from napari_sdmae.cli._arguments import explain

    print(f"{PROG}: {explain(error)}", file=sys.stderr)
    return status
