"""``sdmae evaluate``: measure a head on labelled images, and say when they are those it was trained on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sdmae.cli.common.options import (
    add_batch,
    add_device,
    add_overwrite,
    add_precision,
    add_scale,
    check_batch,
    check_scale,
)
from napari_sdmae.cli.common.output import check_outputs, guarded, save_json
from napari_sdmae.cli.common.parser import UsageError
from napari_sdmae.config.finetune import FinetuneConfig, LabelsConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.humanize import several
from napari_sdmae.io.atomic import make_folder
from napari_sdmae.runs.describe import in_words

if TYPE_CHECKING:
    from napari_sdmae.data.labelled.read import LabelledImage, LabelledSet

PROG = "sdmae evaluate"
PARTS = ("train", "validation", "test", "all")


def main(argv: list[str]) -> int:
    """Run ``sdmae evaluate``; return the exit status."""
    arguments = _parser().parse_args(argv)
    return guarded(PROG, lambda: _evaluate(arguments))


def _evaluate(arguments: argparse.Namespace) -> list[Path]:
    """Print the table; return the file that was written, if one was asked for."""
    check_scale(arguments.mpp)
    check_batch(arguments.batch)
    output: Path | None = arguments.output
    if output is not None:
        check_outputs(output.parent, [output.name], arguments.overwrite)
    from napari_sdmae.io.model_info.head import read_head_spec

    spec = read_head_spec(arguments.head)
    from napari_sdmae.training.finetuning.classes import with_classes_of

    config, found, own = _read(spec, arguments)
    part = arguments.part or ("test" if own and found.part("test") else "all")
    labelled = with_classes_of(found, spec)
    images = _chosen(labelled, part)
    warnings = [*found.warnings, *_left_out(found), *_seen_before(images, own)]
    measured, small = _measured(arguments, config, labelled, images)
    warnings += small
    report = measured | {
        "head": str(arguments.head),
        "data": str(config.data),
        "part": part,
        "warnings": warnings,
    }
    for warning in warnings:
        print(f"{PROG}: {warning}", file=sys.stderr)
    print(table(report))
    if output is None:
        return []
    make_folder(output.parent)
    save_json(output, report, arguments.overwrite)
    return [output]


def _read(spec: HeadSpec, arguments: argparse.Namespace) -> tuple[FinetuneConfig, LabelledSet, bool]:
    """Return the settings and the labelled images, and whether they are those the head was trained with."""
    from napari_sdmae.data.labelled.read import read_labelled

    config = _settings(spec, arguments)
    given = spec.provenance.get("image_mpp")
    if arguments.mpp is None and given is not None:  # only its own images have the scale that was given to its run
        as_trained = config.model_copy(update={"image_mpp": given})
        found = read_labelled(as_trained)
        if found.fingerprint == spec.provenance.get("data"):
            return as_trained, found, True
    found = read_labelled(config)
    return config, found, found.fingerprint == spec.provenance.get("data")


def _settings(spec: HeadSpec, arguments: argparse.Namespace) -> FinetuneConfig:
    """Return how to read the labels: as in the head's own run, so that its parts are found again."""
    labels = LabelsConfig.model_validate(spec.provenance.get("labels", {}))
    return FinetuneConfig(
        task=spec.task,
        data=arguments.data.expanduser().absolute(),
        labels=labels,
        image_mpp=arguments.mpp,
        seed=spec.provenance.get("seed", 0),
        batch_size=arguments.batch,
    )


def _chosen(labelled: LabelledSet, part: str) -> tuple[LabelledImage, ...]:
    """Return the images of the part, or all.

    Raises
    ------
    UsageError
        If there are none.
    """
    images = labelled.images if part == "all" else tuple(image for image in labelled.images if image.part == part)
    if not images:
        there = ", ".join(sorted({image.part for image in labelled.images}))
        raise UsageError(f"there are no {part} images; there are: {there}")
    return images


def _left_out(found: LabelledSet) -> list[str]:
    """Return a warning if images could not be used: the first one and why, and how many more there are."""
    if not found.unusable:
        return []
    name, reason = found.unusable[0]
    more = f", and {several(len(found.unusable) - 1, 'other', 'others')}" if len(found.unusable) > 1 else ""
    return [f"left out, as it cannot be used: {name} ({reason}){more}"]


def _seen_before(images: Sequence[LabelledImage], own: bool) -> list[str]:
    """Return a warning if the head was trained or chosen on some of these images."""
    trained, chosen = (sum(image.part == part for image in images) for part in ("train", "validation"))
    if not own or not trained + chosen:
        return []
    return [
        f"the head was trained on {trained} and selected on {chosen} of these {len(images)} images: these figures do not "
        "predict results on other images; use --part test"
    ]


def _measured(
    arguments: argparse.Namespace, config: FinetuneConfig, labelled: LabelledSet, images: Sequence[LabelledImage]
) -> tuple[dict[str, Any], list[str]]:
    """Load the head and measure; return the report, and a warning of images that are too small for it."""
    import torch

    from napari_sdmae.devices.precision import answering
    from napari_sdmae.devices.select import select_device
    from napari_sdmae.io.checkpoints.head_folder import load_head
    from napari_sdmae.training.finetuning.evaluate import evaluate, measurable

    device = torch.device(select_device(arguments.device).device)
    head = load_head(arguments.head, device)
    fit, warnings = measurable(head, images)
    return evaluate(head, fit, labelled, config, answering(device, arguments.precision)), warnings


def table(report: Mapping[str, Any]) -> str:
    """Return the numbers of a report in columns: all images, then each class."""
    groups = report["groups"]
    of = "" if groups is None else f" of {several(groups, 'patient or slide', 'patients or slides')}"
    lines = [f"{several(report['images'], 'image', 'images')}{of} ({report['part']})", *_lines({"all": report["metrics"]})]
    if any(report["per_class"].values()):
        lines += ["", *_lines(report["per_class"])]
    return "\n".join(lines)


def _lines(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return rows of numbers under their names."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [
        ["", *map(in_words, names)],
        *([title, *(f"{row[name]:.4f}" if name in row else "–" for name in names)] for title, row in rows.items()),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROG, description="Measure a head on labelled images.")
    parser.add_argument("head", metavar="HEAD", type=Path, help="run folder of fine-tuning, or head folder")
    parser.add_argument(
        "--data", metavar="DATA", type=Path, required=True, help="folder, CSV table or COCO file, as for finetune"
    )
    parser.add_argument("--part", choices=PARTS, help="default: the test part of the data it was trained on, all of other data")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the report as JSON")
    add_scale(parser, "the table or the files")
    add_device(parser)
    add_precision(parser)
    add_batch(parser)
    add_overwrite(parser)
    return parser
