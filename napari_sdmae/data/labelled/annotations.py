"""Annotations of QuPath (GeoJSON) as the labels of an image: one file for each image, read as ``import_labels`` reads it.

What counts as annotated follows QuPath's own classes. Inside annotations of the class ``Region*`` everything was annotated:
what was not drawn there is background. Outside of them only what was drawn counts; without any region nothing else does for
segmentation, while nuclei are taken as outlined all over the image. What lies in an annotation of another class that ends
with an asterisk, such as ``Ignore*``, is never learned. No torch.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.io.labels.draw_shapes import PixelGrid, draw_shapes
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.geojson.features import Shape
from napari_sdmae.io.labels.geojson.read import UNCLASSIFIED, shapes_in_source
from napari_sdmae.labels.label_map import IGNORE
from napari_sdmae.typing import Labels

SUFFIXES = (".geojson", ".geojson.gz")
REGION = "Region*"
UNLEARNED = "*"
"""Ends the classes that QuPath leaves out of counts."""

Parted = tuple[list[Shape], list[Shape], list[Shape]]
Draws = Literal["classes", "objects", "types"]


@dataclass(frozen=True)
class Annotations:
    """The annotations of one image, as one kind of label image.

    Attributes
    ----------
    path
        The GeoJSON file.
    draws
        Class values; numbers of objects from 1, :data:`IGNORE` where nothing is learned; or the class value of each object.
    values
        Class value of each name.
    unlearned
        Of class values: the value of what is not learned.
    """

    path: Path
    draws: Draws
    values: tuple[tuple[str, int], ...] = ()
    unlearned: int = IGNORE

    @property
    def name(self) -> str:
        """Name of the file and what is drawn of it."""
        return f"{self.path.name} {self.draws} {self.values}"

    def stat(self) -> os.stat_result:
        """Return the status of the file."""
        return self.path.stat()

    def count(self) -> int:
        """Return how many objects are drawn."""
        return len(parted(self.path)[0])

    def draw(self, size: tuple[int, int]) -> Labels:
        """Return label pixels, int32 (H, W) of `size`, that of the image.

        Raises
        ------
        InvalidImageError
            If the file cannot be read, or nothing of it lies in the image.
        """
        objects, regions, unlearned = parted(self.path)
        values = dict(self.values)
        single = self.draws == "objects"
        numbers = list(range(1, len(objects) + 1)) if single else [values[class_of(one)] for one in objects]
        labels = draw_shapes(objects, numbers, PixelGrid(size, (0.0, 0.0), 1.0), instances=single, nuclei=False).labels
        complete = _covered(regions, size)
        if (objects or regions) and not labels.any() and not complete.any():
            raise InvalidImageError(
                f"no annotation of {self.path.name} lies in the image of {size[1]} × {size[0]} px: they were drawn on another "
                "one, or on a slide of which this is a part"
            )
        if self.draws != "types":
            unknown = _covered(unlearned, size)
            if regions or self.draws == "classes":
                unknown |= (labels == 0) & ~complete
            labels[unknown] = self.unlearned
        return labels


LabelSource = Path | Annotations
"""A label image, a file of outlines, or annotations."""


def are_annotations(path: Path) -> bool:
    """Return whether a file of labels holds annotations."""
    return path.name.lower().endswith(SUFFIXES)


def class_of(one: Shape) -> str:
    """Return the name of the class of an object."""
    return one.class_name or UNCLASSIFIED


def parted(path: Path) -> Parted:
    """Return the objects of a file, its regions, and what is not learned; remembered while the file does not change."""
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidImageError(f"{path.name} cannot be read ({error.strerror})") from None
    return _read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, length: int, changed: int) -> Parted:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # points and lines of a project are no labels
            shapes = shapes_in_source(path).shapes
    except InvalidLabelsError as error:
        raise InvalidImageError(f"{path.name}: {error}") from None
    regions = [one for one in shapes if one.class_name == REGION]
    unlearned = [one for one in shapes if one.class_name != REGION and class_of(one).endswith(UNLEARNED)]
    objects = [one for one in shapes if one.class_name is None or not one.class_name.endswith(UNLEARNED)]
    return [replace(one, polygons=one.nucleus or one.polygons) for one in objects], regions, unlearned


def _covered(shapes: list[Shape], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of `size` that lie in one of `shapes`."""
    drawn = draw_shapes(shapes, [1] * len(shapes), PixelGrid(size, (0.0, 0.0), 1.0), instances=False, nuclei=False)
    covered: NDArray[np.bool_] = drawn.labels > 0
    return covered
