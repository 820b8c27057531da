"""How much of each class an image shows, and what rare classes weigh. No torch.

Rare classes weigh 1/√share. The effective number of samples (Cui and others, CVPR 2019) needs a β, and with millions of pixels
as samples it saturates for the usual ones, so that all classes weigh the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.finetune import Task
from napari_sdmae.data.labelled.label_images import LabelSource, count, read_labels
from napari_sdmae.data.labelled.labelled_set import LabelledImage, LabelledSet
from napari_sdmae.labels.label_map import LabelClass

Counts = tuple[tuple[int, int], ...]


def class_counts(image: LabelledImage, task: Task, classes: tuple[LabelClass, ...], values: Counts, ignore_value: int) -> Counts:
    """Return (class value, amount): pixels (segmentation), objects (instances, detection) or 1 (classification).

    Parameters
    ----------
    values
        Values of its label image, or of its types if it has them, with their pixels.
    """
    if task == "classification":
        return () if image.label is None else ((image.label, 1),)
    if task == "detection":
        return tuple(sorted(Counter(box[4] for box in image.boxes).items()))
    if task == "instances":
        return _objects(image, classes, values)
    if image.objects:
        nothing = dict(values).get(0, 0)
        painted = sum(pixels for value, pixels in values if value)
        return tuple((value, pixels) for value, pixels in ((0, nothing), (1, painted)) if pixels and value != ignore_value)
    return tuple((value, pixels) for value, pixels in values if value != ignore_value)


def _objects(image: LabelledImage, classes: tuple[LabelClass, ...], values: Counts) -> Counts:
    """Count objects; with types, the objects of each, each object being of the type of most of its pixels."""
    if image.labels is None:
        return ()
    if image.types is None:
        number = sum(value > 0 for value, _ in values)
        return ((classes[0].value, number),) if number else ()
    return tuple(sorted(Counter(types_of(image.labels, image.types, classes[0].value, image.size).values()).items()))


def types_of(labels: LabelSource, types: LabelSource, otherwise: int, size: tuple[int, int]) -> dict[int, int]:
    """Return the class value of each object number in the file `labels` of an image of `size`: see :func:`majority_types`."""
    return majority_types(read_labels(labels, size), read_labels(types, size), otherwise)


def majority_types(labels: NDArray[np.int32], types: NDArray[np.int32], otherwise: int) -> dict[int, int]:
    """Return the type that most pixels of each object have; the lowest of several, and `otherwise` where none has one.

    Parameters
    ----------
    labels, types
        Object numbers and class values, int (H, W), 0 = nothing.
    """
    numbers = count(labels)[0]
    found = {int(number): otherwise for number in numbers if number}
    inside = (labels > 0) & (types > 0)
    pairs, pixels = np.unique(np.stack([labels[inside], types[inside]]), axis=1, return_counts=True)
    best: dict[int, int] = {}
    for number, kind, size in zip(*pairs.tolist(), pixels.tolist(), strict=True):
        if size > best.get(number, 0):
            best[number], found[number] = size, kind
    return found


def amounts(images: Sequence[LabelledImage], labelled: LabelledSet) -> NDArray[np.float64]:
    """Return how much of each class each image shows, float (images, classes)."""
    columns = labelled.index_of()
    result = np.zeros((len(images), len(labelled.classes)))
    for row, image in enumerate(images):
        for value, amount in image.counts:
            result[row, columns[value]] = amount
    return result


def class_weights(images: Sequence[LabelledImage], labelled: LabelledSet) -> tuple[float, ...]:
    """Return a weight for each class, their mean over the classes that occur being 1.

    A class weighs 1/√(its share); one that does not occur weighs 1.
    """
    total = amounts(images, labelled).sum(axis=0)
    there = total > 0
    weights = np.ones(len(total))
    weights[there] = 1 / np.sqrt(total[there] / total.sum())
    weights[there] /= weights[there].mean()
    return tuple(weights.tolist())


def image_weights(images: Sequence[LabelledImage], labelled: LabelledSet) -> NDArray[np.float64]:
    """Return how often to draw each image so that all classes are seen about equally, mean 1, float (images,).

    An image is drawn in proportion to the mean, over what it shows, of 1/share of the class; one that shows nothing as the
    least of the others.
    """
    table = amounts(images, labelled)
    share = table.sum(axis=0) / max(table.sum(), 1)
    rarity = np.divide(1, share, out=np.zeros_like(share), where=share > 0)
    shown = table.sum(axis=1)
    weights = np.divide(table @ rarity, shown, out=np.zeros(len(images)), where=shown > 0)
    if not (weights > 0).any():
        return np.ones(len(images))
    weights[weights == 0] = weights[weights > 0].min()
    result: NDArray[np.float64] = weights / weights.mean()
    return result
