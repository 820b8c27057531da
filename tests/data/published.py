"""Ten tiles or pictures of the shipped tissue in the folders, names, formats and sizes in which data sets are published."""

from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import remove_small_objects

from napari_sdmae.io.images.read import read_image
from napari_sdmae.labels.outlines import outlines

Pictures = list[np.ndarray]

NCT_CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
CASES = ("18-5592", "21-5784", "38-6178", "49-4488", "50-5931", "A7-A13E", "AR-A1AK")
"""Names as those of MoNuSeg's training images: a patient of TCGA each."""
TEST_CASES = ("2Z-A9J9", "44-2665", "69-7764")


def tissue_tiles(tissue: Path, count: int) -> Pictures:
    """Return tiles of 256 px of several organs, uint8 (256, 256, 3)."""
    return [read_image(path) for path in sorted(tissue.glob("tiles/*/*.jpg"))[:: 240 // count][:count]]


def tissue_fields(tissue: Path, height: int, width: int, count: int) -> Pictures:
    """Return fields of the shipped regions, uint8 (height, width, 3), which do not overlap."""
    regions = [read_image(path) for path in sorted((tissue / "regions").iterdir())]
    places = [(row, column) for row in range(0, 2048 - height + 1, height) for column in range(0, 2048 - width + 1, width)]
    return [region[row : row + height, col : col + width] for row, col in places for region in regions][:count]


def dark_objects(picture: np.ndarray, least: int) -> np.ndarray:
    """Number the dark places of at least `least` px in a picture, int (H, W)."""
    grey = picture.mean(axis=2)
    return label(remove_small_objects(grey < np.quantile(grey, 0.15), max_size=least), connectivity=1)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def nct_crc(root: Path, tissue: Path) -> Path:
    """``NCT-CRC-HE-100K/CLASS/CLASS-XXXXXXXX.tif``, 224 px, ten tiles; and ``CRC-VAL-HE-7K`` with one of each class."""
    tiles = [tile[:224, :224] for tile in tissue_tiles(tissue, 20)]
    for index, tile in enumerate(tiles[:10]):
        name = NCT_CLASSES[index % 9]
        save(root / "NCT-CRC-HE-100K" / name / f"{name}-{'ACDEHIKLMN'[index] * 8}.tif", tile)
    for name, tile in zip(NCT_CLASSES, tiles[10:], strict=False):
        save(root / "CRC-VAL-HE-7K" / name / f"{name}-TCGA-{'AAICEQFN'}.tif", tile)
    return root


def pcam(root: Path, tissue: Path) -> Path:
    """``camelyonpatch_level_2_split_PART_x.h5``, ``_y.h5`` and ``_meta.csv``: 6, 2 and 2 tiles of 96 px of other slides each."""
    tiles = [tile[:96, :96] for tile in tissue_tiles(tissue, 10)]
    root.mkdir(parents=True, exist_ok=True)
    for part, of in (("train", range(6)), ("valid", range(6, 8)), ("test", range(8, 10))):
        stem = f"camelyonpatch_level_2_split_{part}"
        with h5py.File(root / f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=np.stack([tiles[index] for index in of]), chunks=(1, 96, 96, 3), compression="gzip")
        with h5py.File(root / f"{stem}_y.h5", "w") as file:
            file.create_dataset("y", data=np.array([index % 2 for index in of], np.uint8).reshape(-1, 1, 1, 1))
        with (root / f"{stem}_meta.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi"])
            writer.writerows([n, 9000, 400, bool(i % 2), bool(i % 2), f"camelyon16_{part}_{i % 2:03d}"] for n, i in enumerate(of))
    return root


def monuseg(root: Path, tissue: Path) -> Path:
    """``Tissue Images/TCGA-….tif``, 1000 px, and ``Annotations/TCGA-….xml``; the test images lie beside their outlines."""
    fields = tissue_fields(tissue, 1000, 1000, 10)
    training, test = root / "MoNuSeg 2018 Training Data", root / "MoNuSegTestData"
    for folder in (training / "Tissue Images", training / "Annotations", test):
        folder.mkdir(parents=True, exist_ok=True)
    for case, field in zip(CASES, fields, strict=False):
        name = f"TCGA-{case}-01Z-00-DX1"
        tifffile.imwrite(training / "Tissue Images" / f"{name}.tif", field)
        write_outlines(training / "Annotations" / f"{name}.xml", dark_objects(field, 150))
    for case, field in zip(TEST_CASES, fields[len(CASES) :], strict=True):
        tifffile.imwrite(test / f"TCGA-{case}-01A-01-TS1.tif", field)
        write_outlines(test / f"TCGA-{case}-01A-01-TS1.xml", dark_objects(field, 150))
    return root


def write_outlines(path: Path, objects: np.ndarray) -> None:
    """Write numbered objects as ImageScope does: one region for each, of the points of its outline, holes left out."""
    root = ElementTree.Element("Annotations", MicronsPerPixel="0.252000")
    layer = ElementTree.SubElement(root, "Annotation", Id="1", Name="", Visible="1", LineColor="65280")
    attributes = ElementTree.SubElement(layer, "Attributes")
    ElementTree.SubElement(attributes, "Attribute", Name="Description", Id="0", Value="")
    regions = ElementTree.SubElement(layer, "Regions")
    ElementTree.SubElement(regions, "RegionAttributeHeaders")
    for number, place in enumerate(ndimage.find_objects(objects), 1):
        region = ElementTree.SubElement(regions, "Region", Id=str(number), Type="0", Zoom="0.5", NegativeROA="0")
        vertices = ElementTree.SubElement(region, "Vertices")
        ring = outlines(objects[place] == number)[0][0] + [place[1].start, place[0].start]
        for x, y in ring[:-1]:
            ElementTree.SubElement(vertices, "Vertex", X=f"{x:.6f}", Y=f"{y:.6f}", Z="0")
        ElementTree.SubElement(region, "Plots")
    ElementTree.ElementTree(root).write(path)


def glas(root: Path, tissue: Path) -> Path:
    """``train_1.bmp``, ``train_1_anno.bmp`` … of 775 × 522 px, ``testA``, ``testB`` and ``Grade.csv``."""
    names = [*(f"train_{i}" for i in range(1, 7)), "testA_1", "testA_2", "testB_1", "testB_2"]
    for name, field in zip(names, tissue_fields(tissue, 522, 775, 10), strict=True):
        save(root / f"{name}.bmp", field)
        objects = dark_objects(field, 400)
        save(root / f"{name}_anno.bmp", np.where(objects > 250, 0, objects).astype(np.uint8))
    rows = [f"{name}, {number % 3 + 1}, {('benign', 'malignant')[number % 2]}, adenoma" for number, name in enumerate(names)]
    header = "name, patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"
    (root / "Grade.csv").write_text("\n".join([header, *rows]))
    return root
