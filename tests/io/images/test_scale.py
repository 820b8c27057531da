"""µm per pixel in every spelling, and what is told of one that is not believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sdmae.io.images.read import read_header, read_mpp
from napari_sdmae.io.images.scale import judge, micrometres_in

GREY = np.full((32, 40), 180, np.uint8)
QUARTER = {
    "µm": 0.25,
    "\u03bcm": 0.25,
    "\\u00B5m": 0.25,
    "&micro;m": 0.25,
    "um": 0.25,
    "UM": 0.25,
    "micron": 0.25,
    "Microns": 0.25,
    "micrometer": 0.25,
    "micrometers": 0.25,
    "micrometre": 0.25,
    "micrometres": 0.25,
    "nm": 250,
    "nanometers": 250,
    "mm": 0.00025,
    "millimetre": 0.00025,
    "cm": 0.000025,
    "m": 0.25e-6,
    "Å": 2500,
    "\u212b": 2500,
    "angstroms": 2500,
    "pm": 250_000,
    "in": 0.25 / 25_400,
    "inch": 0.25 / 25_400,
    "inches": 0.25 / 25_400,
    "thou": 0.25 / 25.4,
    "pt": 0.25 / 25_400 * 72,
}
"""How much a quarter of a micrometre is in each unit."""


@pytest.mark.parametrize(("unit", "size"), QUARTER.items())
def test_every_unit(tmp_path: Path, unit: str, size: float) -> None:
    assert size * (micrometres_in(unit) or 0) == pytest.approx(0.25)
    about = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, metadata=about)
    assert read_mpp(tmp_path / "a.ome.tif") == pytest.approx(0.25)
    if unit.isascii():
        tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, resolution=(1 / size, 1 / size), metadata={"unit": unit})
        assert read_mpp(tmp_path / "a.tif") == pytest.approx(0.25, rel=1e-3)


def test_words_for_no_unit_and_case() -> None:
    assert [micrometres_in(unit) for unit in ("pixel", "", "reference frame", "furlong")] == [None] * 4
    assert micrometres_in("Mm") == 1e12
    assert micrometres_in("mm") == 1e3


@pytest.mark.parametrize(
    ("size", "unit", "told"),
    [
        (250, "µm", "250 µm/px is not plausible (expected 0.05 to 20); is it in nm?"),
        (0.00025, "µm", "is it in mm?"),
        (-0.5, "µm", "-0.5 µm/px is not plausible"),
        (0.25, "furlong", "“furlong”, which is no known unit"),
    ],
)
def test_what_is_not_believed_is_told(tmp_path: Path, size: float, unit: str, told: str) -> None:
    about = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, metadata=about)
    found = read_header(tmp_path / "a.ome.tif")
    assert found.mpp is None
    assert told in found.notes[0]


def test_zero_infinite_and_missing_are_not_stated() -> None:
    for sizes in ((None, None), (0.0, 0.0), (float("inf"), float("nan"))):
        assert judge(*sizes, "header") == judge(None, None, "header")
    assert judge(0.25, None, "header").mpp == judge(0.25, 0.251, "header").mpp == 0.25


@pytest.mark.parametrize(("x", "y"), [((0, 1), (0, 1)), ((1, 0), (1, 0)), ((20_000, 1), (0, 1))])
def test_fractions_of_the_resolution_tags(tmp_path: Path, x: tuple[int, int], y: tuple[int, int]) -> None:
    tags = [(282, "2I", 1, x, True), (283, "2I", 1, y, True), (296, "H", 1, 3, True)]
    tifffile.imwrite(tmp_path / "a.tif", GREY, metadata=None, resolution=(1, 1), resolutionunit=3)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        for code, _, _, value, _ in tags[:2]:
            at = file.pages[0].tags[code].valueoffset
            data[at : at + 8] = np.array(value, "<u4").tobytes()
    (tmp_path / "a.tif").write_bytes(data)
    assert read_mpp(tmp_path / "a.tif") == (0.5 if x[0] == 20_000 else None)


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "imagej.tif", "a.png", "aspect.png"])
def test_pixels_that_are_not_square(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.ome.tif":
        tifffile.imwrite(path, GREY, metadata={"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5})
    elif name == "a.tif":
        tifffile.imwrite(path, GREY, resolution=(40_000, 20_000), resolutionunit="CENTIMETER")
    elif name == "imagej.tif":
        tifffile.imwrite(path, GREY, imagej=True, resolution=(4, 2), metadata={"unit": "um"})
    else:
        Image.fromarray(GREY).save(path, dpi=(101_600, 50_800))
    if name == "aspect.png":  # the unit of pHYs: none, so that it states a shape and no size
        import zlib

        data = bytearray(path.read_bytes())
        at = data.index(b"pHYs")
        data[at + 12] = 0
        data[at + 13 : at + 17] = zlib.crc32(data[at : at + 13]).to_bytes(4, "big")
        path.write_bytes(data)
    found = read_header(path)
    assert found.mpp is None
    assert "not square" in found.notes[0]
    if name != "aspect.png":
        assert "0.25 × 0.5 µm" in found.notes[0]


def test_jpeg_of_dots_per_centimetre(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.jpg", dpi=(20_000, 20_000))
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    data[data.index(b"JFIF\0") + 7] = 2
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_mpp(tmp_path / "a.jpg") == pytest.approx(0.5)


def test_resolutions_that_programs_write_are_no_statement(tmp_path: Path) -> None:
    for dpi in (72, 96, 300):
        Image.fromarray(GREY).save(tmp_path / "a.png", dpi=(dpi, dpi))
        assert read_header(tmp_path / "a.png") == (GREY.shape[:2], None, [])
    Image.fromarray(GREY).save(tmp_path / "a.png", dpi=(1000, 1000))
    assert "25.4 µm/px is not plausible" in read_header(tmp_path / "a.png").notes[0]
