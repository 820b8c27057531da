"""What a person painted or drew over pictures, as labelled pictures to be written and learned.

Only the part around it is taken, from the image as the viewer shows it, and brought together by world coordinates: labels may
have another scale, place or rotation than their image.

The result is a labelled folder as ``sdmae finetune`` reads it, cut into pieces of about 512 px, so that a job can run
elsewhere and something can be kept apart to select by. The column ``slide`` names the image layer: pieces of one picture stay
together as soon as there are two pictures. What is not painted has a value that is no class and is not learned; of nuclei it
is background, within 16 px around the painted ones. Tests compare with napari's own ``get_value`` for scaled, stretched,
rotated and sheared labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.data.labelled.write import LabelledPicture
from napari_sdmae.labels.label_map import LabelClass, make_classes
from napari_sdmae.labels.serialization import class_of_in, classes_in, plugin_metadata
from napari_sdmae.layers.shapes import shape_classes
from napari_sdmae.widgets.canvas.crops import Crops, ImagePlane, LayerPair, image_shape, label_data, overlap, planes_of, sampled

Floats = NDArray[np.float64]

EDGES = (512, 320, 224)
"""Edge in px of the pieces that pictures are cut into, so that some can be kept apart; smaller ones where few would come out."""
FEW = 4
MARGIN = {"segmentation": 64, "instances": 16, "detection": 64}
"""px taken around what is painted; of instances little, as what is not painted there counts as background."""


def find_pairs(layers: Sequence[Any], labels: Iterable[Any], images: Sequence[Any]) -> list[LayerPair]:
    """Return for each of `labels` the image it lies over most, in the order of `layers`; those over none are left out."""
    over = {id(one): max(images, key=lambda image: overlap(image, one), default=None) for one in labels}
    chosen = [one for one in layers if id(one) in over]
    return [LayerPair(over[id(one)], one) for one in chosen if over[id(one)] is not None and overlap(over[id(one)], one) > 0]


def annotations_from_labels(pairs: Sequence[LayerPair], task: str, point: Sequence[float]) -> list[LabelledPicture]:
    """Return the painted part of each pair (Labels layers), cut into pieces; of one slide are all that come from one image layer.

    Parameters
    ----------
    pairs
        Images, stacks or pyramids, each with its Labels layer.
    task
        segmentation or instances.
    point
        The viewer's position in world coordinates, for axes that the labels lack.

    Raises
    ------
    ValueError
        If nothing is painted.
    """
    planes = [plane for pair in pairs for plane in planes_of(pair, _painted_slices(pair.labels), point)]
    if not planes:
        raise ValueError("nothing is painted in these Labels layers: paint first, then use them")
    found: list[LabelledPicture] = []
    for edge in EDGES:
        found = [picture for plane in planes for picture in _painted(plane, task, edge)]
        if len(found) >= FEW:
            break
    return found


def annotations_from_shapes(pairs: Sequence[LayerPair], point: Sequence[float]) -> list[LabelledPicture]:
    """Return each pair (Shapes layers) as pictures with the boxes around the shapes; a picture without shapes is taken whole.

    Raises
    ------
    ValueError
        If nothing is drawn.
    """
    values = {word: value for value, word in enumerate(_all_words(pairs), 1)}
    if not values:
        raise ValueError("nothing is drawn in these Shapes layers: draw a box around each object, then use them")
    found: list[LabelledPicture] = []
    for edge in EDGES:
        found = [
            picture
            for pair in pairs
            for plane in planes_of(pair, _drawn_slices(pair.labels), point)
            for picture in _drawn(plane, values, edge)
        ]
        if len(found) >= FEW:
            break
    return found


def classes_of(
    pairs: Sequence[LayerPair], task: str, names: Sequence[str], *, background: bool = False
) -> tuple[LabelClass, ...]:
    """Return the classes there are: those a layer knows, named anew by `names` in the order of their values.

    Of segmentation every value painted is one; of instances there is one unless the layer knows types; of detection the classes
    of the shapes by the features of their layer, or its name. With `background` value 0 is a class as well.
    """
    if task == "detection":
        return _renamed(make_classes(_all_words(pairs), 1), names)
    known = {one.value: one for pair in pairs for one in _known_classes(pair.labels)}
    if task == "instances":
        return _renamed(tuple(known[value] for value in sorted(known) if value) or make_classes(["nucleus"], 1), names)
    values = sorted({int(value) for pair in pairs for value in np.unique(label_data(pair.labels)) if value})
    painted = _renamed(tuple(known.get(value) or _unnamed(value) for value in values), names)
    return (known.get(0) or LabelClass(value=0, name="background", colour=(0, 0, 0)), *painted) if background else painted


def _unnamed(value: int) -> LabelClass:
    return make_classes([f"class {value}"], value)[0]


def _renamed(classes: Sequence[LabelClass], names: Sequence[str]) -> tuple[LabelClass, ...]:
    given = [*names, *[""] * len(classes)]
    return tuple(one.model_copy(update={"name": name}) if name else one for one, name in zip(classes, given, strict=False))


def _known_classes(layer: Any) -> tuple[LabelClass, ...]:
    return classes_in(plugin_metadata(layer))


def _painted_slices(layer: Any) -> list[tuple[int, ...]]:
    data = label_data(layer)
    return [index for index in np.ndindex(*data.shape[:-2]) if np.any(data[index])]


def _drawn_slices(layer: Any) -> list[tuple[int, ...]]:
    return sorted({_leading(shape) for shape in layer.data}) or [(0,) * (layer.ndim - 2)]


def _leading(shape: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in np.rint(np.asarray(shape)[0, :-2]))


def _painted(plane: ImagePlane, task: str, edge: int) -> Iterator[LabelledPicture]:
    labels = label_data(plane.pair.labels)[plane.label_index]
    rows, columns = np.flatnonzero(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
    box = (rows[0] - 0.5, columns[0] - 0.5, rows[-1] + 0.5, columns[-1] + 0.5)
    class_of = class_of_in(plugin_metadata(plane.pair.labels)) if task == "instances" else {}
    for piece in Crops(plane, box, MARGIN[task], edge):
        inside = sampled(labels, plane, piece)
        if not inside.any():
            continue
        types = {int(number): class_of.get(int(number), 1) for number in np.unique(inside) if number} if class_of else {}
        yield LabelledPicture(piece.name, piece.pixels(), inside, types, slide=plane.pair.image.name, mpp=piece.mpp)


def _drawn(plane: ImagePlane, values: Mapping[str, int], edge: int) -> Iterator[LabelledPicture]:
    layer = plane.pair.labels
    drawn = zip(_words(layer), layer.data, strict=True)
    shapes = [(word, np.asarray(shape, float)) for word, shape in drawn if _leading(shape) == plane.label_index]
    boxes = [(values[word], *_box(plane.to_image(shape[:, -2:]))) for word, shape in shapes]
    corners = np.array([box[1:] for box in boxes]).reshape(-1, 4)
    whole = (-0.5, -0.5, *(length - 0.5 for length in image_shape(plane.pair.image)))
    around = (*corners[:, :2].min(0), *corners[:, 2:].max(0)) if len(boxes) else whole
    for piece in Crops(plane, around, MARGIN["detection"], edge, in_image=True):
        inside = [piece.cut(box[1:], box[0]) for box in boxes]
        yield LabelledPicture(
            piece.name,
            piece.pixels(),
            boxes=[box for box in inside if box is not None],
            slide=plane.pair.image.name,
            mpp=piece.mpp,
        )


def _all_words(pairs: Sequence[LayerPair]) -> list[str]:
    return sorted({word for pair in pairs for word in _words(pair.labels)})


def _words(layer: Any) -> list[str]:
    """Return the class of each shape."""
    return [word or layer.name for word in shape_classes(layer.features, len(layer.data))]


def _box(points: Floats) -> tuple[float, float, float, float]:
    return (*(float(value) for value in points.min(0)), *(float(value) for value in points.max(0)))  # type: ignore[return-value]
