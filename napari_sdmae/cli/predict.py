"""``sdmae predict HEAD INPUT… --output DIR``: apply a head to images: labels, overlays, measurements."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sdmae.cli.common.finished import RECIPE, Recipe, finished_before, head_digest, recipe_of
from napari_sdmae.cli.common.inputs import Input, for_each, gather
from napari_sdmae.cli.common.options import (
    add_batch,
    add_device,
    add_overwrite,
    add_precision,
    add_region,
    add_scale,
    check_batch,
    check_scale,
)
from napari_sdmae.cli.common.output import check_outputs, save_json, save_png
from napari_sdmae.cli.common.parser import FORESEEN, UsageError, complain
from napari_sdmae.cli.common.prediction_files import report, table_of, tile_rows, write_boxes, write_probabilities
from napari_sdmae.cli.common.which import add_which, tell, which_of
from napari_sdmae.io.atomic import atomic_files, check_free, clear_leftovers, write_atomically
from napari_sdmae.io.leftovers import remove
from napari_sdmae.notices import PREDICTION

if TYPE_CHECKING:
    from napari_sdmae.config.head import HeadSpec
    from napari_sdmae.inference.prediction.result import Prediction
    from napari_sdmae.io.images.pictures import Picture

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
DEFAULT_FORMATS = {"segmentation": ("geojson", "csv"), "instances": ("geojson", "csv"), "classification": (), "detection": ()}
"""Formats when none are given; besides, classification writes one table for all images, and detection COCO boxes."""
TABLE, LAST = "classification.csv", "prediction.json"
SETTINGS = ("mpp", "region", "scene", "plane", "probabilities", "cell_expansion", "smallest", "flips", "step", "precision")
"""Arguments that results depend on, with formats and overlay; device and number of tiles at once change the last digits."""
DESCRIPTION = (
    "Apply a head to images. Writes labels, measurements and an overlay per image; of classification one table for all, of "
    "detection boxes as COCO JSON. A file that cannot be used does not end the others (exit status 3 if none could be used, 1 "
    "if some failed). Started again after it was killed it goes on: finished images are kept. "
    f"{PREDICTION}"
)


def main(argv: list[str]) -> int:
    """Run ``sdmae predict``; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return _run(_prepared(arguments))
    except FORESEEN as error:
        return complain(PROG, error)


def _run(job: Job) -> int:
    """Predict all images; return the exit status."""
    if job.told:
        print(f"{PROG}: {len(job.told)} of {len(job.inputs)} images were finished before and are kept", file=sys.stderr)
    status = for_each(PROG, job.inputs, job.predict)
    if table := job.table():
        path = job.arguments.output / TABLE
        write_atomically(path, table_of(table))
        print(path)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROG, description=DESCRIPTION)
    parser.add_argument("head", metavar="HEAD", help="fine-tuning run or head folder")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="images, or folders of images")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder for the results, made if needed")
    parser.add_argument(
        "--format", nargs="+", choices=list(ENDS), metavar="FORMAT", help=f"{', '.join(ENDS)} (default: geojson csv, by the task)"
    )
    add_scale(parser)
    add_region(parser)
    add_which(parser)
    parser.add_argument("--probabilities", action="store_true", help="write them as TIFF, one page for each class")
    parser.add_argument("--cell-expansion", type=float, default=0.0, metavar="UM", help="grow nuclei to cells by so many µm")
    parser.add_argument(
        "--smallest", type=float, metavar="UM2", help="leave out smaller objects, µm² (default: as the head was trained)"
    )
    parser.add_argument("--flips", action="store_true", help="average four mirrored views: 4 times slower, slightly better")
    parser.add_argument("--step", type=int, default=1, help="image pixels per label pixel, for very large images (default: 1)")
    parser.add_argument(
        "--overlay",
        action=argparse.BooleanOptionalAction,
        help="write a picture to look at (default: yes; no for classification)",
    )
    add_batch(parser, 8)
    add_device(parser)
    add_precision(parser)
    add_overwrite(parser)
    return parser


@dataclass
class Job:
    """What is done with each image.

    Attributes
    ----------
    recipes
        What the results of each image depend on, by its name.
    told
        What the JSON file of each image says that is finished, by its name: at first of those that an earlier call finished.
    """

    arguments: argparse.Namespace
    spec: HeadSpec
    model: Any
    options: dict[str, Any]
    inputs: list[Input]
    recipes: dict[str, Recipe]
    told: dict[str, dict[str, Any]]

    def predict(self, one: Input) -> Iterator[Path]:
        """Predict an image and write its files; yields their paths, nothing if it is finished already."""
        from napari_sdmae.inference.measuring import measure
        from napari_sdmae.inference.prediction.predict import predict_picture

        if one.name in self.told:
            return
        picture = self._picture(one)
        found = predict_picture(self.model, picture, **self.options)
        tell(PROG, one.path, picture.notes)
        for warning in found.warnings:
            print(f"{PROG}: {one.path}: {warning}", file=sys.stderr)
        formats = _formats(self.arguments, self.spec)
        if self.spec.task != "classification" and ("csv" in formats or "geojson" in formats):
            from dataclasses import replace

            found = replace(found, label_map=measure(found.label_map, self._picture(one)))
        yield from self._write(one, found)

    def table(self) -> list[dict[str, Any]]:
        """Return the rows of the table of classification, one for each tile of the finished images."""
        return _rows(self.inputs, self.told)

    def _picture(self, one: Input) -> Picture:
        """Return the picture from its beginning: each reader goes through it once."""
        from napari_sdmae.io.images.pictures import open_picture

        return open_picture(one.path, self.arguments.region, self.arguments.mpp, which_of(self.arguments))

    def _write(self, one: Input, found: Prediction) -> Iterator[Path]:
        """Write all files of an image, the JSON file last; those of it that are there stay unless they may be replaced."""
        output = self.arguments.output / one.name
        about = {"image": str(one.path), "region": self.arguments.region, "head": str(self.arguments.head)}
        about |= {"task": self.spec.task} | report(found) | {RECIPE: self.recipes[one.name]}
        if self.spec.task == "classification":
            about["tiles"] = tile_rows(one.path, found)
        with atomic_files(output.parent, f"{output.name}-{LAST}", self.arguments.overwrite) as folder:
            written = [*self._save(one, found, folder / output.name), folder / f"{output.name}-{LAST}"]
            save_json(written[-1], about)
            kept = [] if self.arguments.overwrite else [path for path in written if (output.parent / path.name).exists()]
            for path in kept:
                remove(path)
        self.told[one.name] = about
        yield from (output.parent / path.name for path in written if path not in kept)

    def _save(self, one: Input, found: Prediction, stem: Path) -> Iterator[Path]:
        from napari_sdmae.cli.common.overlay import overlay
        from napari_sdmae.io.labels.registry import export_labels

        paths = {end: stem.with_name(f"{stem.name}-{end}") for end in _ends(self.arguments, self.spec)}
        for name in _formats(self.arguments, self.spec):
            yield from export_labels(found.label_map, paths[ENDS[name]], format=name)
        if "boxes.json" in paths:
            yield write_boxes(found, one.path, which_of(self.arguments), paths["boxes.json"])
        if "probabilities.tif" in paths and found.probabilities is not None:
            yield write_probabilities(found, paths["probabilities.tif"])
        if "overlay.png" in paths:
            save_png(paths["overlay.png"], overlay(found.label_map, self._picture(one)))
            yield paths["overlay.png"]


def _prepared(arguments: argparse.Namespace) -> Job:
    """Check all that can be wrong before the first image is done, find what was finished before, and load the head.

    Raises
    ------
    UsageError, DataError, ValueError, FileNotFoundError, FileExistsError
        If something is.
    """
    from napari_sdmae.io.model_info.head import read_head_spec

    check_scale(arguments.mpp)
    which_of(arguments)
    spec, inputs = read_head_spec(arguments.head), gather(arguments.inputs)
    _check(arguments, spec)
    check_outputs(arguments.output, [], arguments.overwrite)
    recipes = _recipes(arguments, spec, inputs)
    told = _finished(arguments, spec, recipes)
    _check_table(arguments, spec, inputs, told)
    arguments.output.mkdir(parents=True, exist_ok=True)
    import torch

    from napari_sdmae.devices.precision import answering
    from napari_sdmae.devices.select import select_device
    from napari_sdmae.io.checkpoints.head_folder import load_head

    device = torch.device(select_device(arguments.device).device)
    options = {
        "probabilities": arguments.probabilities,
        "cell_expansion_um": arguments.cell_expansion,
        "smallest": arguments.smallest,
        "flips": arguments.flips,
        "step": arguments.step,
        "batch": arguments.batch,
        "autocast": answering(device, arguments.precision),
    }
    return Job(arguments, spec, load_head(arguments.head, device), options, inputs, recipes, told)


def _check(arguments: argparse.Namespace, spec: HeadSpec) -> None:
    """Raise `UsageError` for options that would have no effect, or are out of bounds."""
    if arguments.probabilities and spec.task in ("classification", "detection"):
        written = "scores into boxes.json" if spec.task == "detection" else "them into its table"
        raise UsageError(f"--probabilities: a {spec.task} head writes {written}; leave it out")
    if arguments.overlay and spec.task == "classification":
        raise UsageError("--overlay: a classification head writes a table and no picture; leave it out")
    if arguments.flips and spec.task not in ("segmentation", "instances"):
        raise UsageError(f"--flips: a {spec.task} head has no answer for each pixel to be averaged; leave it out")
    if arguments.step > 1 and spec.task == "classification":
        raise UsageError(f"--step {arguments.step}: a classification head has one label for each tile; leave it out")
    for name in ("cell_expansion", "smallest"):
        if getattr(arguments, name) and spec.task != "instances":
            raise UsageError(f"--{name.replace('_', '-')}: a {spec.task} head finds no nuclei; leave it out")
    if arguments.cell_expansion < 0 or (arguments.smallest or 0) < 0:
        raise UsageError("--cell-expansion and --smallest: expected 0 or more")
    if arguments.step < 1:
        raise UsageError(f"--step {arguments.step}: expected 1 or more")
    check_batch(arguments.batch)


def _formats(arguments: argparse.Namespace, spec: HeadSpec) -> tuple[str, ...]:
    return DEFAULT_FORMATS[spec.task] if arguments.format is None else tuple(dict.fromkeys(arguments.format))


def _ends(arguments: argparse.Namespace, spec: HeadSpec) -> list[str]:
    """Return how the names of the files of one image end."""
    more = {
        "boxes.json": spec.task == "detection",
        "probabilities.tif": arguments.probabilities,
        "overlay.png": arguments.overlay is not False and spec.task != "classification",
        LAST: True,
    }
    return [*(ENDS[name] for name in _formats(arguments, spec)), *(end for end, wanted in more.items() if wanted)]


def _recipes(arguments: argparse.Namespace, spec: HeadSpec, inputs: list[Input]) -> dict[str, Recipe]:
    """Return what the results of each image depend on."""
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    settings |= {"format": list(_formats(arguments, spec)), "overlay": arguments.overlay is not False}
    head = head_digest(arguments.head)
    return {one.name: recipe_of(one.path, head, settings) for one in inputs}


def _finished(arguments: argparse.Namespace, spec: HeadSpec, recipes: dict[str, Recipe]) -> dict[str, dict[str, Any]]:
    """Return what is told of each image that an earlier call of the same command finished.

    Raises
    ------
    UsageError, FileExistsError
        If something else is there that may not be replaced.
    """
    told = {}
    for name, recipe in recipes.items():
        files = [arguments.output / f"{name}-{end}" for end in _ends(arguments, spec)]
        clear_leftovers(files[-1].parent)
        if not arguments.overwrite and (found := finished_before(recipe, files)) is not None:
            told[name] = found
        for path in files:
            check_free(path, True, folder=path.name.endswith(ENDS["ome-zarr"]))
    return told


def _check_table(arguments: argparse.Namespace, spec: HeadSpec, inputs: list[Input], told: dict[str, dict[str, Any]]) -> None:
    """Raise `UsageError` if nothing is left to do, or the table there is not that of the images finished before."""
    table, rows = arguments.output / TABLE, _rows(inputs, told)
    wanted = spec.task == "classification"
    if wanted:
        check_free(table, True)
    if wanted and table.exists() and not arguments.overwrite and (not rows or table.read_bytes() != table_of(rows)):
        raise UsageError(f"{TABLE} already in {arguments.output}: give --overwrite or another --output")
    if len(told) == len(inputs) and (table.exists() or not wanted):
        what = "the image was" if len(inputs) == 1 else f"all {len(inputs)} images were"
        raise UsageError(f"{what} finished before in {arguments.output}: give --overwrite to repeat it, or another --output")


def _rows(inputs: list[Input], told: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for one in inputs for row in told.get(one.name, {}).get("tiles", [])]
