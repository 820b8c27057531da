"""A labelled image in memory, at the scale the model sees. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.data.labelled.class_balance import majority_types
from napari_sdmae.data.labelled.label_images import count, read_labels
from napari_sdmae.data.labelled.labelled_set import LabelledImage, LabelledSet
from napari_sdmae.io.images.read import InvalidImageError, read_image
from napari_sdmae.io.memory import TooLargeError, check_memory
from napari_sdmae.labels.label_map import IGNORE
from napari_sdmae.typing import RGB, Labels

BYTES_STORED, BYTES_SCALED = 16, 32
"""Memory per pixel of an image with its labels as they are stored, and of its targets at the scale wanted."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """An image and its labels at one scale.

    Attributes
    ----------
    image
        uint8 RGB (H, W, 3).
    target
        Segmentation: class indices int32 (H, W), `IGNORE` where nothing is to be learned. Instances: object numbers int32
        (H, W), 0 = none. Classification: class index. Detection: boxes float32 (N, 4), left, upper, right, lower edge in px.
    types
        Instances: class index of each object number. Else empty.
    unlearned
        Instances: where nothing is to be learned, (H, W); None: nowhere.
    labels
        Detection: class value of each box, int64 (N,). Else empty.
    """

    image: RGB
    target: Labels | NDArray[np.float32] | int
    types: dict[int, int] = field(default_factory=dict)
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    unlearned: NDArray[np.bool_] | None = None


def load_labelled(image: LabelledImage, labelled: LabelledSet, mpp: float | None, ignore_value: int) -> Loaded:
    """Read an image and its labels, and resize both.

    Parameters
    ----------
    image
        One of `labelled`.
    mpp
        µm per pixel wanted; None, or an image of unknown scale, keeps the size.
    ignore_value
        Value of label images that is not learned.

    Raises
    ------
    InvalidImageError
        If a file cannot be decoded.
    """
    check_labelled(image, mpp)
    pixels = read_image(image.path)
    size = scaled_size(pixels.shape[:2], image.mpp, mpp)
    pixels_at = resize_image(pixels, size)
    if labelled.task == "classification":
        return Loaded(pixels_at, labelled.index_of()[image.label if image.label is not None else -1])
    if labelled.task == "detection":
        factor = np.array([size[1] / pixels.shape[1], size[0] / pixels.shape[0]] * 2, np.float32)
        boxes = np.array([box[:4] for box in image.boxes], np.float32).reshape(-1, 4) * factor
        return Loaded(pixels_at, boxes, labels=np.array([box[4] for box in image.boxes], np.int64))
    if image.labels is None:
        raise ValueError(f"{image.name} has no label image")
    values = read_labels(image.labels, pixels.shape[:2])
    if labelled.task == "instances":
        unlearned = resize_labels((values < 0).astype(np.int32), size) > 0 if (values < 0).any() else None
        values = compact(np.maximum(values, 0))
        return Loaded(pixels_at, resize_instances(values, size), _types(image, labelled, values), unlearned=unlearned)
    values = (values > 0).astype(np.int32) if image.objects else values
    return Loaded(pixels_at, resize_labels(class_indices(values, labelled, ignore_value), size))


def compact(objects: Labels) -> Labels:
    """Return object numbers (H, W) as 1 … N in the same order if some exceed the pixels: tables by number then stay small."""
    if int(objects.max(initial=0)) <= objects.size:
        return objects
    numbers, places = np.unique(objects, return_inverse=True)
    renumbered: Labels = (places.reshape(objects.shape) + (numbers[0] > 0)).astype(np.int32)
    return renumbered


def scaled_size(size: tuple[int, ...], mpp: float | None, wanted: float | None) -> tuple[int, int]:
    """Return (height, width) of an image of `size` px at `mpp` when it is brought to the µm/px `wanted`."""
    factor = mpp / wanted if mpp and wanted else 1.0
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize_image(image: RGB, size: tuple[int, int]) -> RGB:
    """Resize uint8 RGB (H, W, 3) to `size` = (height, width): bilinear, averaging over the area where it gets smaller."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def resize_labels(labels: Labels, size: tuple[int, int]) -> Labels:
    """Resize int (H, W) to `size` = (height, width), taking the nearest pixel."""
    if labels.shape == size:
        return labels
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(np.int64) for old, new in zip(labels.shape, size, strict=True))
    result: Labels = labels[rows[:, None], columns[None, :]]
    return result


def resize_instances(labels: Labels, size: tuple[int, int]) -> Labels:
    """Resize object numbers as :func:`resize_labels` does, without losing an object: each keeps at least one pixel.

    Raises
    ------
    ValueError
        If there are more objects than pixels.
    """
    result = resize_labels(labels, size)
    lost = np.setdiff1d(count(labels)[0], count(result)[0])
    lost = lost[lost > 0]
    if not len(lost):
        return result
    result = result.copy()
    sizes = np.bincount(result.reshape(-1), minlength=int(labels.max()) + 1)
    for number, pixel in zip(lost, _centres(labels, lost), strict=True):
        _keep(result, sizes, int(number), np.minimum((pixel + 0.5) * size // labels.shape, np.array(size) - 1))
    return result


def _centres(labels: Labels, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean (row, column) of the pixels of each of `numbers`, float (N, 2)."""
    rows, columns = np.nonzero(np.isin(labels, numbers))
    of = labels[rows, columns]
    pixels = np.maximum(np.bincount(of, minlength=int(numbers.max()) + 1), 1)
    means = np.stack([np.bincount(of, weights, minlength=len(pixels)) / pixels for weights in (rows, columns)], axis=1)
    result: NDArray[np.float64] = means[numbers]
    return result


def _keep(labels: Labels, sizes: NDArray[np.int64], number: int, pixel: NDArray[np.float64]) -> None:
    """Give object `number` the pixel nearest to `pixel` that no other object needs; changes `labels` and `sizes`."""
    free = (labels == 0) | (sizes[labels] > 1)
    rows, columns = np.nonzero(free)
    if not len(rows):
        raise ValueError(f"{len(sizes) - 1} objects do not fit into {labels.shape[1]} × {labels.shape[0]} px: use a finer scale")
    nearest = int(np.argmin((rows - pixel[0]) ** 2 + (columns - pixel[1]) ** 2))
    row, column = rows[nearest], columns[nearest]
    sizes[labels[row, column]] -= 1
    labels[row, column] = number
    sizes[number] += 1


def check_labelled(image: LabelledImage, mpp: float | None) -> None:
    """Raise `InvalidImageError` if an image and its labels need more memory than there is, as stored and at the scale wanted."""
    rows, columns = scaled_size(image.size, image.mpp, mpp)
    needed = BYTES_STORED * image.size[0] * image.size[1] + BYTES_SCALED * rows * columns
    try:
        check_memory(needed, f"{image.name} with its labels, {image.size[1]} × {image.size[0]} px,", "cut both into smaller ones")
    except TooLargeError as error:
        raise InvalidImageError(str(error)) from None


def class_indices(values: Labels, labelled: LabelledSet, ignore_value: int) -> Labels:
    """Return the class index of each class value in `values`, `IGNORE` for `ignore_value` and whatever is no class."""
    table = np.full(max(int(values.max(initial=0)), 65535) + 1, IGNORE, np.int32)
    for value, index in labelled.index_of().items():
        table[value] = index
    table[ignore_value] = IGNORE
    result: Labels = table[values]
    return result


def _types(image: LabelledImage, labelled: LabelledSet, values: Labels) -> dict[int, int]:
    """Return the class index of each object."""
    if image.types is None:
        return {int(number): 0 for number in count(values)[0] if number}
    index_of = labelled.index_of()
    found = majority_types(values, read_labels(image.types, values.shape), labelled.classes[0].value)
    return {number: index_of[value] for number, value in found.items()}
