"""A class for every pixel, or single objects, of a picture of any size (docs/decisions/0097)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.head import HeadSpec
from napari_sdmae.inference.prediction.objects import centres, means, on_picture, reading_order, renamed
from napari_sdmae.inference.prediction.rescale import RescaledPicture, label_grids, linear
from napari_sdmae.inference.prediction.result import PredictionOptions
from napari_sdmae.io.images.blocks import Block, empty, spans, strips
from napari_sdmae.labels.watershed import separate
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.models.heads.sliding_window import OVERLAP, predict_windows, starts
from napari_sdmae.typing import Floats, Labels

MARGIN = 128
"""Objects of up to so many px of the model are the same in blocks as in the whole: nuclei have 10 to 60."""
ROWS = 256
"""Label rows that are filled at once."""

Half = NDArray[np.float16]
PredictedBlock = tuple[Block, dict[str, Floats]]


@dataclass
class Found:
    """Labels of a picture as they grow, block by block.

    Attributes
    ----------
    labels
        (rows, columns) class values, or numbers of objects.
    probabilities
        (C, rows, columns), or None.
    values
        Of objects: class value of each number.
    columns
        Measurements by name, one value per number of object, or class.
    """

    labels: Labels
    probabilities: Half | None
    values: dict[int, int] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def segmented(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions) -> Found:
    """Return class values, and the mean probability of each class where it was found."""
    found = _nothing(seen, asked, len(model.spec.classes))
    values = np.array([one.value for one in model.spec.classes], np.int32)
    sums, counts = np.zeros(int(values.max()) + 1), np.zeros(int(values.max()) + 1)
    for block, maps in predicted(model, seen, asked, margin=0):
        for rows, columns, positions in _label_rows(seen, asked.step, block):
            probabilities = linear(maps["probabilities"], *positions)
            winner = probabilities.argmax(0)
            found.labels[rows, columns] = values[winner]
            at = values[winner].ravel()
            sums += np.bincount(at, probabilities.max(0).ravel(), len(sums))
            counts += np.bincount(at, minlength=len(sums))
            if found.probabilities is not None:
                found.probabilities[:, rows, columns] = probabilities
    present = np.flatnonzero(counts)
    present = present[present > 0]
    found.columns = {"label": present.astype(np.int32), "probability": (sums[present] / counts[present]).astype(np.float32)}
    return found


def objects(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions) -> Found:
    """Return objects by number, their classes, and the mean probability of being an object and of each type."""
    return separated(model.spec, seen, asked, predicted(model, seen, asked, margin=MARGIN))


def separated(spec: HeadSpec, seen: RescaledPicture, asked: PredictionOptions, blocks: Iterable[PredictedBlock]) -> Found:
    """Return the objects of a picture out of its predicted blocks, which :func:`predicted` yields with :data:`MARGIN`."""
    found = _nothing(seen, asked, 1 + (len(spec.classes) if len(spec.classes) > 1 else 0))
    smallest = spec.head.smallest if asked.smallest is None else asked.smallest
    smallest_px = smallest / spec.mpp**2 if spec.mpp and seen.picture.mpp else smallest
    rows_of: list[Floats] = []
    for block, maps in blocks:
        types = maps.get("types")
        labels, kinds = separate(
            maps["foreground"],
            maps["separation"],
            types,
            how=spec.head.separation,
            smallest_px=smallest_px,
            thresholds=spec.thresholds,
        )
        every = maps["foreground"][None] if types is None else np.concatenate([maps["foreground"][None], types])
        middle = centres(labels, len(kinds)) + (block.rows.start, block.columns.start)
        own = np.flatnonzero(block.rows.holds(middle[:, 0]) & block.columns.holds(middle[:, 1])) + 1
        first = len(found.values)
        found.values |= {first + new: spec.classes[kinds[int(old)]].value for new, old in enumerate(own, 1)}
        numbers = np.zeros(len(kinds) + 1, np.int32)
        numbers[own] = np.arange(first + 1, first + len(own) + 1)
        rows_of.append(means(labels, every, len(kinds))[own - 1])
        _paint(found.labels, seen, asked.step, block, labels, maps["foreground"], numbers, spec.thresholds.inside)
        if found.probabilities is not None:
            for rows, columns, positions in _label_rows(seen, asked.step, block):
                found.probabilities[:, rows, columns] = linear(every, *positions)
    order = reading_order(found.labels)
    found.values = renamed(found.values, order)
    table = np.concatenate(rows_of)[order - 1]
    names = object_channels(spec)
    found.columns = {"label": np.arange(1, len(order) + 1, dtype=np.int32)}
    found.columns |= {f"probability {name}": table[:, column] for column, name in enumerate(names)}
    return found


def object_channels(spec: HeadSpec) -> tuple[str, ...]:
    """Return what the probabilities of objects are: of being one, and of each type where there are several."""
    names = tuple(one.name for one in spec.classes)
    return names if len(names) == 1 else ("object", *names)


def _nothing(seen: RescaledPicture, asked: PredictionOptions, channels: int) -> Found:
    rows, columns = (grid.length for grid in label_grids(seen, asked.step))
    probabilities = empty((channels, rows, columns), np.float16) if asked.probabilities else None
    return Found(empty((rows, columns), np.int32), probabilities)


def predicted(model: HeadModel, seen: RescaledPicture, asked: PredictionOptions, margin: int) -> Iterator[PredictedBlock]:
    """Yield the blocks of a picture with their maps, float32 (…, rows, columns) in [0, 1] at the scale of the model."""
    patch = model.spec.encoder.patch_size
    window = ceil(model.spec.tile_size / patch) * patch
    sides = [
        spans(length, window, starts(length, window, OVERLAP), core=asked.core, margin=margin)
        for length in (seen.rows, seen.columns)
    ]
    all_blocks = [Block(rows, columns) for rows in sides[0] for columns in sides[1]]
    for number, block in enumerate(all_blocks):
        pixels = seen.read(*block.rectangle)
        yield (
            block,
            predict_windows(
                model,
                pixels,
                window=window,
                places=block.windows,
                batch=asked.batch,
                flips=asked.flips,
                autocast=asked.autocast,
                progress=asked.within(number, len(all_blocks)),
            ),
        )


def _label_rows(
    seen: RescaledPicture, step: int, block: Block
) -> Iterator[tuple[slice, slice, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """Yield rows and columns of the labels that the block has to fill, and where they lie in it, a few rows at a time."""
    grids = label_grids(seen, step)
    top, bottom = grids[0].span(block.rows.inner_start, block.rows.inner_stop, block.rows.last)
    left, right = grids[1].span(block.columns.inner_start, block.columns.inner_stop, block.columns.last)
    across = grids[1].positions(left, right) - block.columns.start
    for rows in strips(bottom - top, ROWS):
        down = grids[0].positions(top + rows.start, top + rows.stop) - block.rows.start
        yield slice(top + rows.start, top + rows.stop), slice(left, right), (down, across)


def _paint(
    canvas: Labels,
    seen: RescaledPicture,
    step: int,
    block: Block,
    labels: Labels,
    foreground: Floats,
    numbers: NDArray[np.int32],
    inside: float,
) -> None:
    """Lay the objects of a block that have a number, with what of them lies outside its inner part, over the labels."""
    grids = label_grids(seen, step)
    top, bottom = grids[0].span(block.rows.start, block.rows.stop, block.rows.stop >= seen.rows)
    left, right = grids[1].span(block.columns.start, block.columns.stop, block.columns.stop >= seen.columns)
    down, across = grids[0].positions(top, bottom) - block.rows.start, grids[1].positions(left, right) - block.columns.start
    own = numbers[on_picture(labels, foreground, down, across, inside)]
    part = canvas[top:bottom, left:right]
    part[...] = np.where((own > 0) & (part == 0), own, part)
