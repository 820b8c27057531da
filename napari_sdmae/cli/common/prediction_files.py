"""Files that ``sdmae predict`` writes besides labels: boxes, probabilities, the table of tiles, the report of a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sdmae.notices import PREDICTION

if TYPE_CHECKING:
    from napari_sdmae.inference.prediction.result import Prediction
    from napari_sdmae.io.images.tiff_planes import Which


def write_boxes(found: Prediction, image: Path, which: Which, path: Path) -> Path:
    """Write the boxes of a picture of the file `image` as COCO JSON, in px of the whole picture."""
    import numpy as np

    from napari_sdmae.io.images.read import image_size
    from napari_sdmae.io.labels.coco.write import write_coco_detections

    write_coco_detections(
        np.array([(box.left, box.top, box.right, box.bottom) for box in found.boxes], float).reshape(-1, 4),
        [box.value for box in found.boxes],
        found.label_map.classes,
        path,
        size=image_size(image, which),
        scores=[box.score for box in found.boxes],
        image=image.name,
        mpp=found.label_map.mpp,
    )
    return path


def write_probabilities(found: Prediction, path: Path) -> Path:
    """Write probabilities as float32 pages with the names of the classes, one page in memory at a time."""
    import numpy as np
    import tifffile

    from napari_sdmae.io.atomic import atomic_path
    from napari_sdmae.io.images.scale import resolution_tags

    assert found.probabilities is not None
    scale = resolution_tags(found.label_map.label_mpp)
    large = found.probabilities.size > 2**29
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=large) as file:
        for name, values in zip(found.channels, found.probabilities, strict=True):
            page = np.asarray(values, np.float32)
            file.write(page, photometric="minisblack", compression="zlib", description=name, metadata=None, **scale)
    return path


def tile_rows(image: Path, found: Prediction) -> list[dict[str, Any]]:
    """Return the rows of the table: where each tile lies in px of the image, its class, all probabilities."""
    labels = found.label_map
    rows = []
    whole = len(labels.class_of) == 1
    for number, value in labels.class_of.items():
        row, column = (0, 0) if whole else divmod(number - 1, labels.labels.shape[1])
        size = [edge * labels.step for edge in labels.labels.shape] if whole else [labels.step] * 2
        place = {"row": labels.origin[0] + row * labels.step, "column": labels.origin[1] + column * labels.step}
        probabilities = {name: float(labels.measurements[f"probability {name}"][number - 1]) for name in found.channels}
        about = {"file": str(image), **place, "height": size[0], "width": size[1], "class": labels.class_named(value).name}
        rows.append(about | {f"probability {name}": share for name, share in probabilities.items()})
    return rows


def table_of(rows: list[dict[str, Any]]) -> bytes:
    """Return the table of the classes of all images as CSV."""
    import pandas as pd

    from napari_sdmae.text.tables import table_bytes

    return table_bytes(pd.DataFrame(rows), mark=True, digits=7)


def report(found: Prediction) -> dict[str, Any]:
    """Return what the JSON file says of a prediction."""

    labels = found.label_map
    counts = {one.name: 0 for one in labels.classes}
    for value in labels.class_of.values():
        counts[labels.class_named(value).name] += 1
    return {
        "mpp": labels.mpp,
        "seen_mpp": found.seen_mpp,
        "origin": labels.origin,
        "step": labels.step,
        "counts": counts if labels.instances else None,
        "warnings": found.warnings,
        "note": PREDICTION,
    }
