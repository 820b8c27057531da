"""What picture an image layer holds: which axes are rows, columns, colours and planes. Pure; the one place that decides it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_sdmae.io.images.intensity import UnknownKindError, as_rgb8
from napari_sdmae.labels.serialization import plugin_metadata, update_metadata
from napari_sdmae.layers.base import Source

Colours = Literal["colour", "grey"]
COLOUR_NAMES = ("c", "ch", "channel", "channels", "rgb", "colour", "color")
TRIO = ("red", "green", "blue")
MOST_CONVERTED = 64 * 2**20
"""Most pixels of a plane that is looked at whole to know the range of its values."""


class RegionError(ValueError):
    """The layer or region cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class LayerPicture:
    """How the axes of a layer's data are meant.

    Attributes
    ----------
    shapes
        (rows, columns) of each level, finest first.
    axis
        The axis that holds 3 or 4 colours, None for grey; it counts from the front, in the layer's data.
    planes
        Lengths of the other axes before rows and columns (time, z): one plane of them is a picture.
    doubtful
        Whether the colours lie in an axis that may also be planes: a person can say otherwise.
    """

    shapes: tuple[tuple[int, int], ...]
    axis: int | None
    planes: tuple[int, ...]
    doubtful: bool = False

    def source(self, layer: Any) -> Source:
        """Return name and place of `layer`, without an axis of colours that the viewer takes for planes."""
        source = Source.of(layer)
        return source if self.axis is None or layer.rgb else source.without(self.axis)

    def index(self, position: Sequence[float]) -> tuple[int, ...]:
        """Return the plane that is nearest to `position` (the layer's data coordinates, all axes)."""
        leading = [value for axis, value in enumerate(position[:-2]) if axis != self.axis]
        return tuple(int(np.clip(round(value), 0, length - 1)) for value, length in zip(leading, self.planes, strict=True))

    def leading(self, index: Sequence[int]) -> tuple[int, ...]:
        """Return the position of plane `index` along all axes before rows and columns; of colours that of the first."""
        place = list(index)
        if self.axis is not None and self.axis <= len(place):
            place.insert(self.axis, 0)
        return tuple(place)

    def read(self, array: Any, index: Sequence[int], window: tuple[slice, slice]) -> NDArray[Any]:
        """Return the `window` of plane `index` of a level's `array`, (rows, columns) or (rows, columns, colours); as stored."""
        key: list[Any] = [*index, *window]
        if self.axis is None or self.axis == array.ndim - 1:
            return np.asarray(array[tuple(key)])
        key.insert(self.axis, slice(None))
        return np.moveaxis(np.asarray(array[tuple(key)]), 0, -1)

    def rgb8(self, array: Any, index: Sequence[int], window: tuple[slice, slice]) -> NDArray[np.uint8]:
        """Return the `window` as uint8 RGB, by the rule by which files are read; contrast limits have no part in it.

        What white is, is told by the whole plane where that is in memory, as a command takes a region of a whole file.

        Raises
        ------
        RegionError
            If the values are of no known range.
        """
        whole = (slice(None), slice(None))
        try:
            if array.dtype != np.uint8 and self.is_converted_whole(array):
                return as_rgb8(self.read(array, index, whole))[window]
            return as_rgb8(self.read(array, index, window))
        except UnknownKindError as error:
            raise RegionError(f"This layer holds {error}.") from None

    def is_converted_whole(self, array: Any) -> bool:
        """Tell whether the range of a level's values is that of the whole plane, not only that of the part that is read."""
        return isinstance(array, np.ndarray) and math.prod(self.shapes[0]) <= MOST_CONVERTED


def picture_of(layer: Any) -> LayerPicture:
    """Return what picture `layer`, an image layer, holds.

    An axis of 3 or 4 before rows and columns holds colours where it is called so, or where it is the first or the last of the
    leading axes; a person who knows better says so (:func:`mean`).

    Raises
    ------
    RegionError
        If it holds none.
    """
    levels = list(layer.data) if layer.multiscale else [layer.data]
    shape = tuple(levels[0].shape)
    if len(shape) < 2:
        raise RegionError(f"Layer “{layer.name}” has {len(shape)} axis; a picture has rows and columns.")
    if layer.rgb:
        shapes = tuple((int(one.shape[-3]), int(one.shape[-2])) for one in levels)
        return LayerPicture(shapes, len(shape) - 1, tuple(int(length) for length in shape[:-3]))
    if len(shape) > 2 and shape[-1] in (3, 4):
        raise RegionError(f"Layer “{layer.name}” has shape {shape} but is not shown in colour. Open it again as RGB.")
    shapes = tuple((int(one.shape[-2]), int(one.shape[-1])) for one in levels)
    axis = _colour_axis(shape[:-2], tuple(layer.axis_labels)[: len(shape) - 2])
    chosen = None if meant(layer) == "grey" else axis
    planes = tuple(int(length) for place, length in enumerate(shape[:-2]) if place != chosen)
    return LayerPicture(shapes, chosen, planes, axis is not None)


def _colour_axis(leading: Sequence[int], names: Sequence[str]) -> int | None:
    few = [axis for axis, length in enumerate(leading) if length in (3, 4)]
    called = [axis for axis in few if str(names[axis]).lower() in COLOUR_NAMES]
    likely = [axis for axis in few if axis in (0, len(leading) - 1)]
    return next(iter(called or likely[::-1]), None)


def meant(layer: Any) -> Colours:
    """Return how a person wants a doubtful axis of `layer` to be taken; colours unless it was said otherwise."""
    return "grey" if plugin_metadata(layer).get("planes") == "grey" else "colour"


def mean(layer: Any, colours: Colours) -> None:
    """Keep with `layer` how its doubtful axis is meant."""
    update_metadata(layer, planes=colours)


def taken_text(layer: Any, picture: LayerPicture, index: Sequence[int]) -> str:
    """Return what is taken of a layer that is more, or other, than one picture in colour; else an empty text."""
    lines = []
    if picture.axis is None:
        lines.append("grey")
    elif not layer.rgb:
        lines.append(f"{'red, green and blue' if _colours(layer, picture) == 3 else 'colours with transparency'} in planes")
    lines += [f"plane {at + 1} of {length}" for at, length in zip(index, picture.planes, strict=True) if length > 1]
    return f"Using: {', '.join(lines)}." if lines else ""


def _colours(layer: Any, picture: LayerPicture) -> int:
    array = layer.data[0] if layer.multiscale else layer.data
    return int(array.shape[picture.axis])


def trio_of(layer: Any, layers: Iterable[Any]) -> list[Any]:
    """Return the layers that are red, green and blue of one picture, with the grey `layer` among them; empty if there are none.

    They are of one shape, type and place, called alike but for a number or colour at the end, and shown in these colours; or
    maybe they are, being the three in cyan, yellow and magenta that napari makes of any axis of three (:func:`is_certain`).
    """
    if layer.rgb or layer.multiscale:
        return []
    alike = [one for one in layers if _alike(one, layer)]
    for names in (TRIO, ("cyan", "yellow", "magenta")):
        found = {one.colormap.name: one for one in alike}
        if layer.colormap.name in names and set(names) <= set(found) and len(alike) == 3:
            return [found[name] for name in names]
    return []


def is_certain(trio: Sequence[Any]) -> bool:
    """Tell whether the layers of :func:`trio_of` are shown in red, green and blue."""
    return bool(trio) and trio[0].colormap.name == TRIO[0]


def grouped(layers: Sequence[Any]) -> list[Any]:
    """Return `layers` with those that are red, green and blue of one picture made that picture."""
    found: list[Any] = []
    for layer in layers:
        trio = trio_of(layer, layers)
        if not is_certain(trio):
            found.append(layer)
        elif layer is trio[0]:
            data, attributes = merged(trio)
            found.append(Image(data, **attributes))
    return found


def _alike(one: Any, layer: Any) -> bool:
    if getattr(one, "rgb", True) or one.multiscale or one.data.shape != layer.data.shape or one.data.dtype != layer.data.dtype:
        return False
    return _stem(one.name) == _stem(layer.name) and Source.of(one).same_place(Source.of(layer))


def _stem(name: str) -> str:
    """Return a name without what tells channels apart: ``x [1]``, ``x red``, ``x_G`` and ``x 2`` are all ``x``."""
    plain = name.strip().lower()
    for end in ("]", "red", "green", "blue", *"rgb", *"0123456789"):
        plain = plain.removesuffix(end)
    return plain.rstrip(" [_-:.·0123456789")


def merged(trio: Sequence[Any]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return three layers as one picture in colour: data and arguments of an image layer."""
    first = trio[0]
    source = Source.of(first)
    place = {name: getattr(source, name) for name in ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")}
    name = _stem(first.name) or "picture"
    return np.stack([np.asarray(one.data) for one in trio], axis=-1), place | {"name": f"{name} (RGB)", "rgb": True}
