"""Labels from OME-Zarr: ours with all that they keep, other programs' (0.4 and 0.5) with what their metadata say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_sdmae.io.images.scale import micrometres_in
from napari_sdmae.io.labels.description import KEY, as_labels, classes_of_values, restore
from napari_sdmae.io.labels.draw_objects import check_size
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.memory import TooLargeError, check_memory
from napari_sdmae.labels.label_map import LabelClass, LabelMap, colour_of
from napari_sdmae.text.spelling import one_form

NAMES = ("class", "name", "label", "description")
"""Properties that may hold what a label is called."""


def read_label_zarr(
    path: Path | str, *, name: str | None = None, mpp: float | None = None, instances: bool | None = None
) -> LabelMap:
    """Read the largest level of labels.

    Parameters
    ----------
    path
        An OME-Zarr with labels, its ``labels`` group, or one of the labels in it.
    name
        Which labels, where there are several.
    mpp
        µm per full-resolution pixel; None: as the metadata say.
    instances
        Of other programs' files: whether each value is one object. None: yes unless every label has a name of its own.

    Raises
    ------
    InvalidLabelsError
        If there are none, several and no name is given, or they are damaged.
    """
    try:
        group = zarr.open_group(Path(path), mode="r")
        chosen = _chosen(group, name)
        labels = _pixels(chosen)
        description = chosen.attrs.asdict().get(KEY)
        if description is None:
            return _foreign(labels, chosen.attrs.asdict(), mpp, instances)
        nuclei = _beside(chosen, description)
    except InvalidLabelsError:
        raise
    except TooLargeError as error:
        raise InvalidLabelsError(str(error)) from None
    except FileNotFoundError:
        raise InvalidLabelsError("no OME-Zarr of that name") from None
    except Exception as error:  # zarr and its codecs raise nearly every exception there is
        raise InvalidLabelsError(f"no OME-Zarr, or damaged ({type(error).__name__}: {error})") from error
    return restore(description | ({} if mpp is None else {"mpp": mpp}), labels, nuclei=nuclei)


def _chosen(group: zarr.Group, name: str | None) -> zarr.Group:
    about = _ome(group)
    if "image-label" in about:
        return group
    names = about.get("labels")
    if names is None and "labels" in group:
        group = group["labels"]
        names = _ome(group).get("labels", [])
    names = [one for one in names or [] if name == one or (_ours(group, one) or {}).get("nuclei") != one]
    if name is not None and name not in names:
        raise InvalidLabelsError(f"no labels {name!r} in it; there are: {', '.join(names) or 'none'}")
    if name is None and len(names) != 1:
        raise InvalidLabelsError(f"labels {', '.join(names)} in it: say which" if names else "no labels in it")
    return group[name or names[0]]


def _ours(group: zarr.Group, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = group[name].attrs.asdict().get(KEY)
    return found


def _beside(chosen: zarr.Group, description: Mapping[str, Any]) -> NDArray[np.int32] | None:
    """Return the nuclei that lie beside the labels of cells."""
    name = description.get("nuclei")
    if not name or chosen.basename == name:
        return None
    folder = Path(str(chosen.store_path.store.root)) / chosen.store_path.path
    return _pixels(zarr.open_group(folder.parent / name, mode="r"))


def _ome(group: zarr.Group) -> dict[str, Any]:
    attributes = group.attrs.asdict()
    return dict(attributes.get("ome", attributes))


def _pixels(group: zarr.Group) -> NDArray[np.int32]:
    dataset = _ome(group)["multiscales"][0]["datasets"][0]
    stored = group[dataset["path"]]
    check_size(stored.shape[-2:])
    if any(length > 1 for length in stored.shape[:-2]):
        raise InvalidLabelsError(f"labels of shape {stored.shape}: labels are one plane of rows and columns")
    size = " × ".join(map(str, stored.shape))
    check_memory(prod(stored.shape) * (stored.dtype.itemsize + 4), f"reading {size} labels", "cut them into smaller ones")
    values = np.asarray(stored[...])
    return as_labels(values.reshape(values.shape[-2:]))


def _foreign(labels: NDArray[np.int32], attributes: Mapping[str, Any], mpp: float | None, instances: bool | None) -> LabelMap:
    about = attributes.get("ome", attributes)
    shown = about.get("image-label", {})
    names = _label_names(shown)
    colours = {int(one["label-value"]): one["rgba"] for one in shown.get("colors", []) if one.get("rgba")}
    mpp_here, origin = _place(about["multiscales"][0])
    present = classes_of_values(labels, names) if int(labels.max(initial=0)) <= 65_535 else ()
    if instances is None:
        instances = not present or len({one.name for one in present if one.value in names}) < len(present)
    scale = mpp if mpp is not None else mpp_here
    if not instances:
        classes = tuple(
            one.model_copy(update={"colour": tuple(colours[one.value][:3])}) if one.value in colours else one for one in present
        )
        return LabelMap(labels=labels, classes=classes, mpp=scale, origin=origin)
    kinds = list(dict.fromkeys(names.values())) or ["object"]
    values = {kind: value for value, kind in enumerate(kinds, 1)}
    first = {kind: label for label, kind in reversed(names.items())}
    classes = tuple(
        LabelClass(value=value, name=kind, colour=tuple(colours.get(first.get(kind, -1), colour_of(value))[:3]))
        for kind, value in values.items()
    )
    class_of = {label: values[kind] for label, kind in names.items()}
    return replace(LabelMap(labels=labels, classes=classes, mpp=scale, origin=origin), instances=True, class_of=class_of)


def _label_names(shown: Mapping[str, Any]) -> dict[int, str]:
    found = {}
    for one in shown.get("properties", []):
        name = next((str(one[key]) for key in NAMES if one.get(key)), None)
        if name is not None:
            found[int(one["label-value"])] = one_form(name)
    return found


def _place(multiscale: Mapping[str, Any]) -> tuple[float | None, tuple[float, float]]:
    """Return µm per pixel and the (row, column) of the first pixel's corner, in pixels."""
    axes = multiscale.get("axes", [])
    unit = axes[-1].get("unit") if axes and isinstance(axes[-1], dict) else None
    changes = multiscale["datasets"][0].get("coordinateTransformations", [])
    scale = next((one["scale"] for one in changes if one["type"] == "scale"), [1.0, 1.0])
    shift = next((one["translation"] for one in changes if one["type"] == "translation"), [0.0, 0.0])
    factor = micrometres_in(str(unit))
    row, column = (float(shift[axis]) / float(scale[axis]) for axis in (-2, -1))
    return None if factor is None else float(scale[-1]) * factor, (row, column)
