"""Label maps for the tests of all formats: nuclei of shipped tissue, hand-made hard cases, and random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hed

from napari_sdmae.io.images.read import read_image
from napari_sdmae.labels.label_map import LabelClass, LabelMap

CLASSES = (
    LabelClass(value=1, name="Tumour", colour=(200, 0, 0)),
    LabelClass(value=2, name='Stroma, "loose" & µ', colour=(0, 150, 30)),
    LabelClass(value=5, name="Lymphocyte: aggregate", colour=(10, 20, 250)),
)


def tissue_nuclei(tissue: Path, size: int = 256) -> NDArray[np.int32]:
    """Return what takes up haematoxylin in a corner of shipped skin, each separate piece numbered: blobs, holes, touching."""
    image = read_image(tissue / "regions" / "skin_morphea.jpg")[900 : 900 + size, 700 : 700 + size]
    stain = ndimage.gaussian_filter(rgb2hed(image)[..., 0], 1)
    labels, count = ndimage.label(stain > np.percentile(stain, 85), np.ones((3, 3)))
    assert count > 20
    return labels.astype(np.int32)


def hard() -> NDArray[np.int32]:
    """Holes in holes, parts, touching objects, borders, single pixels, contacts at corners, a label that is not used."""
    labels = np.zeros((24, 30), np.int32)
    labels[0:9, 0:9] = 1  # at the border, with a hole, in which another object has a hole
    labels[2:7, 2:7] = 0
    labels[3:6, 3:6] = 2
    labels[4, 4] = 0
    labels[0:9, 9:14] = 3  # touches 1 along an edge
    labels[12:16, 0:4] = 4  # two parts that touch at a corner
    labels[16:19, 4:8] = 4
    labels[23, 29] = 5  # one pixel in the corner
    labels[12, 20] = 6  # one pixel
    labels[13, 21] = 7  # touches 6 at a corner
    labels[12, 22] = 6
    labels[14:20, 12:18] = 8  # a checkerboard
    labels[14:20, 12:18][np.indices((6, 6)).sum(axis=0) % 2 == 0] = 9
    labels[:, 27] = 11  # from border to border
    labels[5, 20:25] = 12  # one pixel thin
    return labels


def random_labels(seed: int) -> NDArray[np.int32]:
    """Return random labels of a random shape, single pixels or squares and rectangles of them."""
    generator = np.random.default_rng(seed)
    shape = generator.integers(1, 26, 2)
    labels = generator.integers(0, generator.integers(2, 9), shape)
    repeats = np.ones(generator.integers(1, 4, 2), int) if seed % 3 == 0 else np.ones((1, 1), int)
    return np.kron(labels, repeats).astype(np.int32)


def objects(labels: NDArray[np.int32], **changes: object) -> LabelMap:
    """Return labels as objects of three classes, with measurements (one is missing) at an awkward place."""
    present = np.unique(labels[labels > 0])
    values = [CLASSES[label % 3].value for label in present.tolist()]
    measurements = {
        "label": present.astype(np.int64),
        "Area µm^2": np.array([(labels == label).sum() / 16 for label in present.tolist()]),
        "P(Tumour)": np.where(np.arange(len(present)) == 1, np.nan, np.linspace(0, 1, len(present))),
    }
    about: dict[str, object] = {
        "labels": labels,
        "classes": CLASSES,
        "instances": True,
        "class_of": dict(zip(present.tolist(), values, strict=True)),
        "mpp": 0.2526,
        "origin": (1034.0, 20.5),
        "step": 2.0,
        "source": "slides/skin µ.svs",
        "measurements": measurements,
    }
    return LabelMap(**(about | changes))


def classes(labels: NDArray[np.int32], **changes: object) -> LabelMap:
    """Return labels as values of three classes."""
    values = np.array([0, *(one.value for one in CLASSES)])[labels % 4].astype(np.int32)
    about: dict[str, object] = {
        "labels": values,
        "classes": CLASSES,
        "mpp": 0.5,
        "origin": (7.0, 11.0),
        "step": 1.0,
        "source": "tile.png",
    }
    return LabelMap(**(about | changes))


def cells(labels: NDArray[np.int32]) -> LabelMap:
    """Return labels as cells with nuclei: what is left without their edges; some have none, some several parts."""
    nuclei = np.zeros_like(labels)
    for label in np.unique(labels[labels > 0]):
        nuclei[ndimage.binary_erosion(labels == label, border_value=0)] = label
    return objects(labels, nuclei=nuclei)


def assert_same(found: LabelMap, expected: LabelMap, measurements: bool = True) -> None:
    """Fail unless two label maps agree in all but measurements of objects that are not there."""
    assert found.labels.dtype == np.int32
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.classes == expected.classes
    assert found.instances == expected.instances
    assert dict(found.class_of) == dict(expected.class_of)
    assert found.mpp == expected.mpp
    assert found.origin == expected.origin
    assert found.step == expected.step
    assert found.source == expected.source
    assert (found.nuclei is None) == (expected.nuclei is None)
    if expected.nuclei is not None:
        np.testing.assert_array_equal(found.nuclei, expected.nuclei)
    if measurements:
        assert list(found.measurements) == list(expected.measurements)
        for name, column in expected.measurements.items():
            np.testing.assert_array_equal(found.measurements[name], column)


def big(shape=(1400, 1100)):
    """Return labels large enough for several levels of a pyramid."""
    labels = np.zeros(shape, np.int32)
    labels[100:900, 50:700] = 3
    labels[150:200, 300:1099] = 258
    labels[-1, -1] = 1
    return labels
