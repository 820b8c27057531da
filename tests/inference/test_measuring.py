"""Measurements against circles, rectangles and slow NumPy."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.color import hed_from_rgb

from napari_sdmae.inference.measuring import measure, parts, stain_densities
from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.io.images.pictures import ArrayPicture, FilePicture
from napari_sdmae.io.images.read import read_image
from napari_sdmae.labels.label_map import LabelMap, make_classes

RGB = NDArray[np.uint8]


def nuclei(labels: NDArray[np.int32], mpp: float | None = 0.5, **more: object) -> LabelMap:
    return LabelMap(labels, make_classes(["nucleus"], 1), instances=True, mpp=mpp, **more)  # type: ignore[arg-type]


def ellipse(shape: tuple[int, int], centre: tuple[float, float], half_axes: tuple[float, float]) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(((rows - centre[0]) / half_axes[0]) ** 2 + ((columns - centre[1]) / half_axes[1]) ** 2 <= 1)


def test_circles_ellipses_and_rectangles_in_micrometres() -> None:
    labels = np.zeros((200, 300), np.int32)
    labels[ellipse(labels.shape, (60, 60), (40, 40))] = 1
    labels[ellipse(labels.shape, (60, 180), (20, 50))] = 2
    labels[140:160, 100:180] = 5
    table = measure(nuclei(labels, origin=(1000.0, 2000.0))).measurements
    np.testing.assert_array_equal(table["label"], [1, 2, 5])
    circle, oval, box = range(3)
    assert table["area (µm²)"][circle] == pytest.approx(np.pi * 20**2, rel=0.005)
    assert table["perimeter (µm)"][circle] == pytest.approx(2 * np.pi * 20, rel=0.05)
    assert table["eccentricity"][circle] == pytest.approx(0, abs=0.05)
    assert table["area (µm²)"][oval] == pytest.approx(np.pi * 10 * 25, rel=0.01)
    assert table["major axis (µm)"][oval] == pytest.approx(50, rel=0.01)
    assert table["minor axis (µm)"][oval] == pytest.approx(20, rel=0.01)
    assert table["eccentricity"][oval] == pytest.approx(np.sqrt(1 - 0.4**2), rel=0.005)
    assert table["area (µm²)"][box] == 10 * 40
    assert table["solidity"][box] == pytest.approx(1)
    assert table["solidity"][circle] > 0.97
    # positions count from the corner of the source, so that the box's middle is the mean of its edges
    assert table["centroid y (px)"][box] == pytest.approx(1000 + 150)
    assert table["centroid x (px)"][box] == pytest.approx(2000 + 140)
    assert table["centroid x (µm)"][box] == pytest.approx(0.5 * 2140)


def test_a_notch_lowers_solidity() -> None:
    labels = np.zeros((60, 60), np.int32)
    labels[10:50, 10:50] = 1
    labels[10:30, 25:35] = 0
    assert measure(nuclei(labels)).measurements["solidity"][0] == pytest.approx(1 - 200 / 1600, rel=0.02)


def test_without_scale_units_are_pixels_and_with_steps_those_of_the_source() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 10:30] = 1
    unknown = measure(nuclei(labels, mpp=None)).measurements
    assert unknown["area (px²)"][0] == 200
    assert not [name for name in unknown if "µm" in name]
    coarse = measure(nuclei(labels, mpp=None, step=4.0)).measurements
    assert coarse["area (px²)"][0] == 200 * 16
    assert coarse["centroid x (px)"][0] == 80
    known = measure(nuclei(labels, mpp=0.25, step=4.0)).measurements
    assert known["area (µm²)"][0] == 200


def test_optical_densities_meet_slow_numpy(tissue: Path) -> None:
    image = read_image(sorted(tissue.glob("tiles/colon/*.jpg"))[3])[:90, :110]
    labels = np.zeros((90, 110), np.int32)
    labels[5:30, 8:60], labels[40:80, 20:100] = 3, 4
    table = measure(nuclei(labels), image).measurements
    for row, label in enumerate((3, 4)):
        sums, count = np.zeros(3), 0
        for at in np.argwhere(labels == label):
            intensity = np.maximum(image[tuple(at)].astype(float), 1)
            sums += -np.log10(intensity / 255) @ np.asarray(hed_from_rgb)
            count += 1
        assert table["haematoxylin OD"][row] == pytest.approx(sums[0] / count, rel=1e-4)
        assert table["eosin OD"][row] == pytest.approx(sums[1] / count, rel=1e-4)


def test_optical_density_is_that_of_beer_and_lambert() -> None:
    np.testing.assert_allclose(stain_densities(np.full((1, 1, 3), 255, np.uint8)), 0, atol=1e-6)
    haematoxylin = np.linalg.inv(np.asarray(hed_from_rgb))[0]
    seen = np.rint(255 * 10 ** (-0.8 * haematoxylin)).astype(np.uint8)  # 0.8 OD of pure haematoxylin
    np.testing.assert_allclose(stain_densities(seen[None, None])[0, 0], [0.8, 0, 0], atol=0.02)
    twice = np.rint(255 * 10 ** (-1.6 * haematoxylin)).astype(np.uint8)
    assert stain_densities(twice[None, None])[0, 0, 0] == pytest.approx(2 * stain_densities(seen[None, None])[0, 0, 0], rel=0.03)


def test_nuclei_are_darker_in_haematoxylin_than_what_is_around(tissue: Path) -> None:
    """On the hand-drawn nuclei that ship: the sign and order of the stains are right on real tissue."""
    folder = tissue.parent / "nuclei"
    higher = []
    for path in sorted((folder / "images").glob("*.png"))[:12]:
        inside = np.asarray(Image.open(folder / "labels" / path.name)) > 0
        table = measure(nuclei(np.where(inside, 1, 2).astype(np.int32)), read_image(path)).measurements
        higher.append(table["haematoxylin OD"][0] > table["haematoxylin OD"][1])
    assert np.mean(higher) > 0.9


def test_columns_there_are_kept_by_label_and_holes_are_not_a_number() -> None:
    labels = np.zeros((30, 60), np.int32)
    labels[5:15, 5:15], labels[5:15, 25:35], labels[5:15, 45:55] = 1, 2, 7
    given = {"label": np.array([2, 1, 9]), "probability nucleus": np.array([0.2, 0.1, 0.9]), "area (µm²)": np.array([1.0, 2, 3])}
    table = measure(nuclei(labels, measurements=given)).measurements
    np.testing.assert_array_equal(table["label"], [1, 2, 7])
    np.testing.assert_array_equal(table["probability nucleus"], [0.1, 0.2, np.nan])
    np.testing.assert_array_equal(table["area (µm²)"], [25, 25, 25])  # old areas never survive a new outline
    assert next(iter(table)) == "label"


def test_cells_have_the_measurements_of_their_nuclei_beside_their_own() -> None:
    inner = np.zeros((60, 90), np.int32)
    inner[20:30, 20:30], inner[20:30, 60:70] = 1, 2
    cells = np.zeros_like(inner)
    cells[15:35, 15:35], cells[15:35, 55:75] = 1, 2
    image = np.full((60, 90, 3), 255, np.uint8)
    image[inner > 0] = (90, 60, 120)
    table = measure(nuclei(cells, nuclei=inner), image).measurements
    np.testing.assert_allclose(table["area (µm²)"], 100)
    np.testing.assert_allclose(table["nucleus area (µm²)"], 25)
    np.testing.assert_allclose(table["haematoxylin OD"], table["nucleus haematoxylin OD"] / 4, rtol=1e-4)
    without = measure(nuclei(cells, nuclei=np.where(inner == 1, 1, 0).astype(np.int32)), image).measurements
    np.testing.assert_array_equal(np.isnan(without["nucleus area (µm²)"]), [False, True])


def classes_map(labels: NDArray[np.int32], **more: object) -> LabelMap:
    return LabelMap(labels, make_classes(["tumour", "stroma"], 1), mpp=0.5, **more)  # type: ignore[arg-type]


def test_classes_have_areas_shares_and_parts() -> None:
    labels = np.zeros((50, 60), np.int32)
    labels[:10, :10], labels[10:20, 10:20], labels[30:40, 5:15] = 1, 1, 1  # the first two touch at a corner
    labels[0:20, 30:50] = 2
    table = measure(classes_map(labels)).measurements
    np.testing.assert_array_equal(table["label"], [1, 2])
    np.testing.assert_array_equal(table["area (µm²)"], [75, 100])
    np.testing.assert_allclose(table["share"], [300 / 700, 400 / 700])
    np.testing.assert_array_equal(table["parts"], [2, 1])


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_parts_are_counted_across_strips(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(rows)
    labels = random.integers(0, 3, (40, 37)).astype(np.int32)
    monkeypatch.setattr("napari_sdmae.inference.measuring.ROWS", rows)
    found = measure(classes_map(labels)).measurements["parts"]
    expected = [ndimage.label(labels == value, np.ones((3, 3)))[1] for value in (1, 2)]
    np.testing.assert_array_equal(found, expected)


def test_parts_become_objects() -> None:
    labels = np.zeros((50, 60), np.int32)
    labels[:10, :10], labels[30:40, 5:15], labels[20:22, 50:52] = 1, 2, 1
    found = parts(classes_map(labels, origin=(5.0, 6.0)), smallest=2.0)
    assert found.instances
    assert found.class_of == {1: 1, 2: 2}  # the third has 1 µm²
    assert found.origin == (5.0, 6.0)
    np.testing.assert_array_equal(np.unique(found.labels), [0, 1, 2])
    np.testing.assert_array_equal(measure(found).measurements["area (µm²)"], [25, 25])
    with pytest.raises(ValueError, match="objects already"):
        parts(found)


def test_a_file_is_measured_in_strips_as_its_pixels(tissue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read_image(tissue / "regions" / "skin_morphea.jpg")[:600, :300]
    tifffile.imwrite(tmp_path / "skin.tif", image, photometric="rgb", tile=(64, 64))
    labels = np.zeros((600, 300), np.int32)
    labels[100:500, 50:200] = 1
    labels[510:590, 20:280] = 2
    monkeypatch.setattr("napari_sdmae.inference.measuring.ROWS", 70)
    for step in (1, 2):
        labelled = nuclei(labels[::step, ::step].copy(), step=float(step))
        pixels = measure(labelled, image).measurements
        file = measure(labelled, FilePicture(tmp_path / "skin.tif", 0.5)).measurements
        for name in ("haematoxylin OD", "eosin OD"):
            np.testing.assert_allclose(file[name], pixels[name], rtol=1e-6)


def test_an_image_of_another_place_is_refused() -> None:
    with pytest.raises(InvalidFieldError, match="100 x 100 px for labels of 50 x 60 px"):
        measure(nuclei(np.ones((50, 60), np.int32)), np.zeros((100, 100, 3), np.uint8))


def test_nothing_found_gives_an_empty_table() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    objects = measure(nuclei(np.zeros((40, 40), np.int32)), image).measurements
    assert all(len(column) == 0 for column in objects.values())
    assert "area (µm²)" in objects
    assert len(measure(classes_map(np.zeros((40, 40), np.int32)), image).measurements["label"]) == 0


def test_ten_thousand_nuclei_are_measured_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not object by object: each row of the picture is read once."""
    random = np.random.default_rng(0)
    labels, count = np.zeros((2048, 2048), np.int32), 0
    rows, columns = np.mgrid[-8:9, -8:9]
    for row in range(10, 2030, 20):
        for column in range(10, 2030, 20):
            count += 1
            half = random.uniform(3, 8, 2)
            inside = (rows / half[0]) ** 2 + (columns / half[1]) ** 2 <= 1
            labels[row - 8 : row + 9, column - 8 : column + 9][inside] = count
    image = random.integers(0, 256, (2048, 2048, 3), dtype=np.uint8)
    picture = ArrayPicture(image)
    read = Mock(wraps=picture.read)
    monkeypatch.setattr(ArrayPicture, "read", read)
    table = measure(nuclei(labels), picture).measurements
    assert len(table["label"]) == count > 10_000
    assert sum(height for (_, _, height, _), _ in read.call_args_list) == len(image)
