"""napari's File > Open Sample: the tissue that comes with the package, and nuclei with their labels."""

from __future__ import annotations

import csv
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.read import load_labelled, read_labelled
from napari_sdmae.io.images.read import read_image
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.layers.base import LayerData, mosaic
from napari_sdmae.layers.labels import labels_layer

SOURCE = {
    "source": "Pathology Atlas (Serdar Balci, Memorial Pathology), patolojiatlasi.com, doi:10.5281/zenodo.6382734",
    "licence": "MIT, © 2022 Pathology Atlas",
    "stain": "haematoxylin and eosin (H&E)",
    "use": "Shows how the program works. Not for diagnosis.",
}
NUCLEI_SOURCE = {
    "source": "histolytics 0.3.0, HautaniemiLab: high-grade serous carcinoma of the ovary",
    "licence": "BSD-3-Clause, © 2024-2025 HautaniemiLab",
    "labels": "output of a model, not drawn by hand",
    "use": "Shows how the program works. Not for diagnosis.",
}
NUCLEI_NAME = "H&E nuclei (HautaniemiLab, BSD-3)"
REGION, REGION_MPP = "regions/skin_morphea.jpg", 0.527
TILES_PER_ORGAN = 6


def tissue_folder() -> Path:
    """Return the folder of the shipped tissue."""
    return Path(str(resources.files("napari_sdmae.resources") / "tissue"))


def sample_region() -> list[LayerData]:
    """Return a stitched region of skin, 2048 × 2048 px, placed in micrometres."""
    file = tissue_folder() / REGION
    return [_sample(read_image(file), "H&E skin", REGION_MPP, file)]


def sample_tiles() -> list[LayerData]:
    """Return tiles of eight organs, one organ per row, placed in micrometres."""
    rows = list(csv.DictReader((tissue_folder() / "tiles.csv").read_text(encoding="utf-8").splitlines()))
    organs = sorted({row["organ"] for row in rows})
    chosen = [row for organ in organs for row in [row for row in rows if row["organ"] == organ][:TILES_PER_ORGAN]]
    tiles = np.stack([read_image(tissue_folder() / row["file"]) for row in chosen])
    picture, _ = mosaic(tiles, TILES_PER_ORGAN, gap=16)
    mpp = float(np.median([float(row["mpp"]) for row in chosen]))
    return [_sample(picture, "H&E tiles of eight organs", mpp)]


def sample_nuclei() -> list[LayerData]:
    """Return a region with 1,294 nuclei of three types as image and labels, in pixels: its scale is not known."""
    config = FinetuneConfig(task="instances", data=Path(str(resources.files("napari_sdmae.resources") / "nuclei_typed")))
    labelled = read_labelled(config)
    (image,) = labelled.images
    loaded = load_labelled(image, labelled, None, config.labels.ignore_value)
    class_of = {number: labelled.classes[index].value for number, index in (loaded.types or {}).items()}
    nuclei = LabelMap(
        np.asarray(loaded.target, np.int32), labelled.classes, instances=True, class_of=class_of, source=str(image.path)
    )
    about = NUCLEI_SOURCE | {"file": str(image.path)}
    picture = (loaded.image, {"name": NUCLEI_NAME, "rgb": True, "metadata": {METADATA_KEY: about}}, "image")
    return [picture, labels_layer(nuclei, provenance=NUCLEI_SOURCE, name=f"{NUCLEI_NAME} · nuclei")]


def _sample(picture: NDArray[np.uint8], name: str, mpp: float, file: Path | None = None) -> LayerData:
    about: dict[str, Any] = SOURCE | {"mpp": mpp} | ({} if file is None else {"file": str(file)})
    return (
        picture,
        {
            "name": f"{name} (Pathology Atlas, MIT)",
            "rgb": True,
            "scale": (mpp, mpp),
            "units": ("µm", "µm"),
            "axis_labels": ("y", "x"),
            "metadata": {METADATA_KEY: about},
        },
        "image",
    )
