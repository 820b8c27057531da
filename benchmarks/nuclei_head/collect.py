"""Pictures to learn nuclei from, at the scale of the head: those outlined by hand, and tissue that nobody outlined."""

from __future__ import annotations

import csv
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from scipy.cluster.hierarchy import fcluster, linkage

from napari_sdmae.data.labelled.load import resize_image, resize_instances
from napari_sdmae.typing import RGB, Labels

MPP = 0.25
"""µm/px that the head sees."""
TYPICAL_UM = 6.5
"""Diameter of a nucleus in a section: the scale of pictures that do not tell theirs follows from it."""
LIKENESS = 0.35
"""Largest distance of colours (quantiles of red, green and blue in [0, 1]) within a group that is not split."""
PER_SLIDE, OF_SKIN, SKIN_PX = 30, 60, 640
LEAST_TISSUE = 0.6


class Picture(NamedTuple):
    """One picture on disk: its name, group (slide, or likeness), and labels where it has some."""

    path: Path
    group: str
    labels: Path | None


def collect_hand(folder: Path) -> list[Picture]:
    """Write the outlined pictures that come with the package, each at the scale that its median nucleus tells."""
    shipped = Path(str(resources.files("napari_sdmae.resources")))
    sources = [(path, shipped / "nuclei/labels" / path.name) for path in sorted((shipped / "nuclei/images").iterdir())]
    pairs = [(path.stem, _rgb(path), _labels(labels)) for path, labels in sources]
    groups = [f"likeness-{number}" for number in _groups_by_colour([image for _, image, _ in pairs])]
    whole = _rgb(shipped / "nuclei_typed/images/hgsc_nest.jpg"), _labels(shipped / "nuclei_typed/labels/hgsc_nest.png")
    half = whole[0].shape[0] // 2
    for name, rows in (("upper", slice(0, half)), ("lower", slice(half, None))):
        pairs.append((f"hgsc-{name}", whole[0][rows], whole[1][rows]))
        groups.append(f"hgsc-{name}")
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    found = []
    for (name, image, labels), group in zip(pairs, groups, strict=True):
        factor = TYPICAL_UM / _median_diameter(labels) / MPP
        size = round(image.shape[0] * factor), round(image.shape[1] * factor)
        paths = folder / "images" / f"{name}.png", folder / "labels" / f"{name}.png"
        if not paths[1].exists():
            Image.fromarray(resize_image(image, size)).save(paths[0])
            save_labels(resize_instances(labels, size), paths[1])
        found.append(Picture(paths[0], group, paths[1]))
    return found


def collect_tissue(data: Path, folder: Path) -> list[Picture]:
    """Write tissue of every slide of the Pathology Atlas in `data`: tiles at 0.5 µm/px, and some of the skin at 0.26 µm/px."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "complete").exists():
        rng = np.random.default_rng(0)
        _tiles(data / "tissue_tiles", folder, rng)
        _skin(data / "slides" / "skin-morphea-40x.tif", folder, rng)
        (folder / "complete").touch()
    return [Picture(path, path.stem.rsplit("@", 1)[0], None) for path in sorted(folder.glob("*.png"))]


def save_labels(labels: Labels, path: Path) -> None:
    """Write numbers of objects as a PNG of 16 bits."""
    Image.fromarray(labels.astype(np.uint16)).save(path)


def _tiles(root: Path, folder: Path, rng: np.random.Generator) -> None:
    rows: dict[str, list[dict[str, str]]] = {}
    with (root / "tiles.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if float(row["tissue_fraction"]) > LEAST_TISSUE:
                rows.setdefault(row["slide"], []).append(row)
    for slide, all_of in rows.items():
        for index in rng.permutation(len(all_of))[:PER_SLIDE]:
            row = all_of[index]
            image = _rgb(root / row["file"])
            edge = round(image.shape[0] * float(row["mpp"]) / MPP)
            Image.fromarray(resize_image(image, (edge, edge))).save(folder / f"{slide}@{Path(row['file']).stem}.png")


def _skin(path: Path, folder: Path, rng: np.random.Generator) -> None:
    edge = round(SKIN_PX * 0.263 / MPP)
    with tifffile.TiffFile(path) as file:
        pixels = zarr.open_group(file.series[0].aszarr(), mode="r")["0"]
        height, width = pixels.shape[:2]
        taken = 0
        while taken < OF_SKIN:
            row, column = int(rng.integers(height - SKIN_PX)), int(rng.integers(width - SKIN_PX))
            image = np.asarray(pixels[row : row + SKIN_PX, column : column + SKIN_PX])[..., :3]
            if (image.mean(2) < 220).mean() < LEAST_TISSUE:
                continue
            Image.fromarray(resize_image(image, (edge, edge))).save(folder / f"skin@{row}-{column}.png")
            taken += 1


def _groups_by_colour(images: list[RGB]) -> NDArray[np.int64]:
    """Return a number for each picture, the same for those that look alike: nobody knows which are of one slide."""
    colours = [np.percentile(image.reshape(-1, 3) / 255, [5, 50, 95], axis=0).ravel() for image in images]
    groups: NDArray[np.int64] = fcluster(linkage(np.array(colours), "average"), LIKENESS, "distance")
    return groups


def _median_diameter(labels: Labels) -> float:
    """Return the diameter in px of a disc as large as the median object."""
    sizes = np.bincount(labels.ravel())[1:]
    return float(2 * np.sqrt(np.median(sizes[sizes > 0]) / np.pi))


def _rgb(path: Path) -> RGB:
    return np.asarray(Image.open(path).convert("RGB"))


def _labels(path: Path) -> Labels:
    return np.asarray(Image.open(path)).astype(np.int32)
