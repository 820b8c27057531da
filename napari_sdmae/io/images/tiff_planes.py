"""Which of the pictures in a TIFF is meant: its scenes, and the planes in depth, time or pages of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sdmae.io.images.intensity import UnknownKindError


class Which(NamedTuple):
    """Which picture of a file is meant: `scene` and `plane` count from 1; None: the largest scene, the first plane."""

    scene: int | None = None
    plane: int | None = None


ANY = Which()
ASIDE = re.compile(r"\b(label|macro|thumbnail|overview|preview)\b", re.IGNORECASE)
"""Names of the pictures that a scanner adds to a slide."""
_SLIDES = {"svs", "ndpi", "scn", "bif", "philips", "qpi", "avs"}
_MEANING = {"Z": "in depth", "T": "in time"}


@dataclass(frozen=True)
class Chosen:
    """One plane of one scene.

    Attributes
    ----------
    level
        The largest level of the scene, a series of tifffile.
    image
        Number of the scene in the file, from 0, small pictures beside a slide counted.
    scene, scenes
        Which scene, from 1, of how many.
    plane, planes
        Which plane, from 1, of how many.
    """

    level: Any
    image: int
    scene: int
    scenes: int
    plane: int
    planes: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in px."""
        lengths = dict(zip(self.level.axes, self.level.shape, strict=True))
        return lengths["Y"], lengths["X"]

    @property
    def notes(self) -> list[str]:
        """What was chosen without being asked for, and how to ask."""
        told = []
        if self.scenes > 1:
            told.append(f"scene {self.scene} of {self.scenes} is used; choose another with scene")
        if self.planes > 1:
            kinds = [_MEANING[axis] for axis in self.level.axes if axis in _MEANING]
            where = f" ({' and '.join(kinds)})" if kinds else ""
            told.append(f"plane {self.plane} of {self.planes}{where} is used; choose another with plane")
        return told

    def page(self) -> Any | None:
        """Return the page that holds the whole plane, or None if there is no single one."""
        numbers = self._pages()
        if numbers is None or len(numbers) != 1:
            return None
        page = self.level.pages[numbers[0]]
        if page is None:
            raise ValueError(f"plane {self.plane} of {self.planes} is not in this file")
        return page.aspage() if isinstance(page, tifffile.TiffFrame) else page

    def decoded(self) -> tuple[NDArray[Any], str]:
        """Return the values of the plane as they are stored, perhaps with other axes around it, and the axes."""
        axes, shape = self.level.axes, self.level.shape
        page = self.page()
        if page is not None:
            return page.asarray(), page.axes
        numbers = self._pages()
        if numbers is not None:
            pages = [self.level.pages[number] for number in numbers]
            if any(one is None for one in pages):
                raise ValueError(f"plane {self.plane} of {self.planes} is not whole in this file")
            return np.stack([one.asarray() for one in pages]), "C" + pages[0].keyframe.axes
        index = dict(zip(self._others(), self._place(), strict=True))
        if self.level.dataoffset is not None:  # stored in one piece behind a single page, as ImageJ does: it is not all read
            order = self.level.parent.byteorder
            values: Any = np.memmap(
                self.level.parent.filehandle.path,
                self.level.dtype.newbyteorder(order),
                "r",
                offset=self.level.dataoffset,
                shape=tuple(shape),
            )
        else:
            values = self.level.asarray()
        kept = "".join(axis for axis in axes if axis not in index)
        return np.asarray(values[tuple(index.get(axis, slice(None)) for axis in axes)]), kept

    def _others(self) -> list[str]:
        return _planes_of(self.level)

    def _place(self) -> tuple[int, ...]:
        """Return the index of the plane along each of the axes that are neither place nor colour."""
        lengths = dict(zip(self.level.axes, self.level.shape, strict=True))
        return tuple(int(one) for one in np.unravel_index(self.plane - 1, [lengths[axis] for axis in self._others()] or [1]))[
            : len(self._others())
        ]

    def _pages(self) -> list[int] | None:
        """Return the numbers of the pages of the plane, one for each channel; None if the pages are not laid out so."""
        axes, shape, own = self.level.axes, self.level.shape, self.level.keyframe.axes
        if not axes.endswith(own) or len(self.level.pages) != prod(shape[: len(axes) - len(own)]):
            return None
        leading = axes[: len(axes) - len(own)]
        if self.level.dataoffset is not None and len(self.level.pages) > 1 and not _has_pages(self.level):
            return None
        numbers = np.arange(len(self.level.pages)).reshape(shape[: len(leading)])
        index = dict(zip(self._others(), self._place(), strict=True))
        chosen = numbers[tuple(index.get(axis, slice(None)) for axis in leading)]
        return [int(one) for one in np.ravel(chosen)]


def choose(file: tifffile.TiffFile, which: Which = ANY) -> Chosen:
    """Return the plane that is meant: by default the first one of the scene with the most pixels.

    Raises
    ------
    UnknownKindError
        If there is no such scene or plane, or no picture at all.
    """
    scenes = _scenes(file)
    number = 1 + scenes.index(max(scenes, key=_pixels)) if which.scene is None else which.scene
    _check_number("scene", number, len(scenes))
    series = scenes[number - 1]
    level = series.levels[0]
    lengths = dict(zip(level.axes, level.shape, strict=True))
    planes = prod(lengths[axis] for axis in _planes_of(level))
    plane = 1 if which.plane is None else which.plane
    _check_number("plane", plane, planes)
    image = next(index for index, one in enumerate(file.series) if one is series)
    return Chosen(level, image, number, len(scenes), plane, planes)


def _check_number(what: str, number: int, count: int) -> None:
    if not 1 <= number <= count:
        raise UnknownKindError(f"{what} {number} was asked for: the file has {count}")


def _scenes(file: tifffile.TiffFile) -> list[Any]:
    """Return the pictures of the file that people look at, in their order, without those that a scanner adds."""
    pictures = [series for series in file.series if {"Y", "X"} <= set(series.levels[0].axes)]
    if not pictures:
        raise UnknownKindError("a TIFF without an image")
    largest = max(pictures, key=_pixels)
    return [series for series in pictures if series is largest or not _is_aside(series, largest)]


def _is_aside(series: Any, largest: Any) -> bool:
    """Return whether a picture is the label, the overview or a smaller copy of the largest, and no scene of its own."""
    if series.levels[0].keyframe.is_reduced or ASIDE.search(series.name or ""):
        return True
    smaller = _pixels(series) < _pixels(largest)
    if not smaller or series.kind == "ome":
        return False
    (height, width), (whole_height, whole_width) = _size(series), _size(largest)
    same_shape = abs(height * whole_width / (width * whole_height) - 1) < 0.02
    return series.kind in _SLIDES or same_shape


def _pixels(series: Any) -> int:
    height, width = _size(series)
    return height * width


def _size(series: Any) -> tuple[int, int]:
    level = series.levels[0]
    return int(level.shape[level.axes.index("Y")]), int(level.shape[level.axes.index("X")])


def channel_axis(axes: str) -> str:
    """Return the axis that holds colours: samples, else channels; empty if there is neither."""
    return "S" if "S" in axes else "C" if "C" in axes else ""


def _planes_of(level: Any) -> list[str]:
    return [axis for axis in level.axes if axis not in "YX" + channel_axis(level.axes)]


def _has_pages(level: Any) -> bool:
    """Return whether each plane has a page of its own; ImageJ writes large stacks behind a single one."""
    return len(level.parent.pages) >= len(level.pages)
