"""Measurements as CSV: one row per object, or per class where labels are no objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from napari_sdmae.io.atomic import atomic_path
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.objects import check_labels, extents
from napari_sdmae.text.tables import table_bytes


def label_table(label_map: LabelMap) -> pd.DataFrame:
    """Return a row for each label: number, class, centroid, area and all that was measured.

    Centroids are (x, y) in full-resolution pixels and µm of the source from the corner of its first pixel, as in QuPath;
    areas in full-resolution pixels and µm². Columns in µm are there when the scale is known. A measured column of the same
    name is kept instead of ours.

    Raises
    ------
    ValueError
        If the labels are none.
    """
    check_labels(label_map)
    found = list(extents(label_map.labels))
    labels = [one.label for one in found]
    classes = [label_map.class_at(label) for label in labels]
    x = label_map.origin[1] + (np.array([one.column for one in found]) + 0.5) * label_map.step
    y = label_map.origin[0] + (np.array([one.row for one in found]) + 0.5) * label_map.step
    area = np.array([one.area for one in found], float) * label_map.step**2
    own = {
        "label": np.array(labels, np.int64),
        "class": [one.name for one in classes],
        "class value": np.array([one.value for one in classes], np.int64),
        "centroid x (px)": x,
        "centroid y (px)": y,
        "area (px²)": area,
    }
    if label_map.mpp is not None:
        own |= {"centroid x (µm)": x * label_map.mpp, "centroid y (µm)": y * label_map.mpp, "area (µm²)": area * label_map.mpp**2}
    table = pd.DataFrame(own)
    if "label" not in label_map.measurements:
        return table
    measured = pd.DataFrame({name: np.asarray(column) for name, column in label_map.measurements.items()})
    kept = table[["label", *(name for name in table.columns if name not in measured.columns)]]
    return kept.merge(measured, on="label", how="left")


def write_label_table(label_map: LabelMap, path: Path, *, overwrite: bool = False) -> None:
    """Write :func:`label_table` as CSV in UTF-8 with a mark that spreadsheets need to show µ.

    Raises
    ------
    ValueError
        If the labels are none.
    FileExistsError, OSError
        If the file is there, or cannot be written.
    """
    data = table_bytes(label_table(label_map), mark=True, digits=7)
    with atomic_path(path, overwrite) as temporary:
        temporary.write_bytes(data)
