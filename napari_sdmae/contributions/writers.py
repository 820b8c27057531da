"""napari's File > Save: labels and shapes to files of every format. What is there is replaced: napari's dialog has asked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_sdmae.humanize import sentence
from napari_sdmae.io.labels.registry import export_labels
from napari_sdmae.io.labels.shapes import skipped
from napari_sdmae.layers.labels import layer_label_map
from napari_sdmae.layers.shapes import write_shapes


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer in the format that the end of `path` names; return the files."""
    return _write_labels(path, data, attributes, None)


def write_labels_coco(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as COCO JSON; return the file."""
    return _write_labels(path, data, attributes, "coco")


def write_shapes_geojson(path: str, data: Sequence[Any], attributes: Mapping[str, Any]) -> list[str]:
    """Write the areas of a Shapes layer as annotations of QuPath, and say what is none; return the file."""
    with _heard():
        left_out = write_shapes(data, attributes, Path(path), overwrite=True)
    if left_out:
        warnings.warn(sentence(skipped(left_out)), stacklevel=2)
    return [path]


def _write_labels(path: str, data: Any, attributes: Mapping[str, Any], format: str | None) -> list[str]:
    with _heard():
        return [str(one) for one in export_labels(layer_label_map(data, attributes), path, format=format, overwrite=True)]


@contextmanager
def _heard() -> Iterator[None]:
    """Raise a ValueError as RuntimeError: napari takes the former for "no such writer" and does not say what is wrong."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError(str(error)) from error
