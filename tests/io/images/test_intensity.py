"""Ranges of pixel values: ordinary pictures keep every value, single ones do not decide, and what was decided is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sdmae.io.images.intensity import as_rgb8, brightness_notes
from napari_sdmae.io.images.read import InvalidImageError, read_image


@pytest.fixture(scope="module")
def picture(tissue: Path) -> np.ndarray:
    return np.asarray(Image.open(sorted((tissue / "tiles" / "colon").glob("*.jpg"))[0]).convert("RGB"))[:64, :80]


def by_the_largest(values: np.ndarray) -> np.ndarray:
    """The rule of before: white is 1, or that of the smallest camera depth that holds the largest value."""
    high = float(values.max())
    real = values.dtype.kind == "f" and high <= 1
    white = 1 if real else next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high <= 2**bits - 1)
    return np.rint(values * np.float32(255 / white)).astype(np.uint8)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_ordinary_pictures_keep_every_value(picture, bits, dtype):
    values = (picture.astype(float) / 255 * (2**bits - 1)).astype(dtype)
    assert np.array_equal(as_rgb8(values), by_the_largest(values))


def test_real_numbers_from_0_to_1_keep_every_value(picture):
    for values in ((picture / 255).astype(np.float32), picture / 300):
        assert np.array_equal(as_rgb8(values), by_the_largest(values))


@pytest.mark.parametrize(
    ("scale", "low", "high"), [(1, -0.004, 1.004), (1, -0.02, 1.3), (255, -3.0, 258.0), (65535, -80.0, 65900)]
)
def test_a_little_beyond_the_range(picture, scale, low, high):
    values = (picture / 255 * scale).astype(np.float32)
    values[0, :2] = [[low] * 3, [high] * 3]
    notes: list[str] = []
    assert np.abs(as_rgb8(values, notes)[1:].astype(int) - picture[1:]).max() <= 1
    assert notes == [f"32-bit real numbers, read as 0 to {scale}; a few values outside are cut off"]


def test_hot_pixels_do_not_decide(picture):
    values = (picture.astype(np.uint16) * 16)[:60, :60]
    values[5, 5] = 65535
    notes: list[str] = []
    assert np.abs(as_rgb8(values, notes)[10:].astype(int) - picture[10:60, :60]).max() <= 1
    assert notes == ["16-bit, 12 bits used; a few values outside are cut off"]


@pytest.mark.parametrize("name", ["a.tif", "grey.tif", "a.png"])
@pytest.mark.parametrize("alpha", [4095, 65535])
def test_transparency_has_a_range_of_its_own(picture, tmp_path, name, alpha):
    colour = np.rint(picture / 255 * 4095).astype(np.uint16)[..., : 1 if name == "grey.tif" else 3]
    values = np.concatenate([colour, np.full((*colour.shape[:2], 1), alpha, np.uint16)], axis=2)
    if name.endswith("png"):
        import imagecodecs

        (tmp_path / name).write_bytes(imagecodecs.png_encode(values))
    else:
        photometric = "minisblack" if name == "grey.tif" else "rgb"
        tifffile.imwrite(tmp_path / name, values, photometric=photometric, extrasamples=["unassalpha"], planarconfig="contig")
    assert np.abs(read_image(tmp_path / name).astype(int) - picture[..., : colour.shape[2]]).max() <= 1


def test_premultiplied_twelve_bits(picture, tmp_path):
    alpha = np.tile(np.linspace(0, 65535, 80), (64, 1))
    alpha[:, 60:] = 65535
    weight = alpha[..., None] / 65535
    stored = np.concatenate([picture / 255 * 4095 * weight, alpha[..., None]], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", np.rint(stored).astype(np.uint16), photometric="rgb", extrasamples=["assocalpha"])
    expected = picture * weight + 255 * (1 - weight)
    assert np.abs(read_image(tmp_path / "a.tif") - expected).max() <= 2


def test_signed_and_packed_bits(picture, tmp_path):
    tifffile.imwrite(tmp_path / "signed.tif", picture.astype(np.int16) - (picture < 1), photometric="rgb")
    assert np.array_equal(read_image(tmp_path / "signed.tif"), picture)
    small = np.concatenate([(picture[..., :1] >> 2), np.zeros_like(picture[:, :16, :1])], axis=1)[:, :80, 0]
    for bits in (10, 12, 14):
        tifffile.imwrite(tmp_path / "dark.tif", small.astype(np.uint16), bitspersample=bits, compression=None)
        expected = np.rint(small / (2**bits - 1) * 255)
        assert np.abs(read_image(tmp_path / "dark.tif")[..., 0] - expected).max() <= 1  # the file states its depth


def test_palettes_of_eight_bits(picture, tmp_path):
    palette = Image.fromarray(picture).quantize(100)
    table = np.zeros((3, 256), np.uint16)
    colours = np.array(palette.getpalette(), np.uint16).reshape(-1, 3)
    table[:, : len(colours)] = colours.T
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(palette), photometric="palette", colormap=table)
    assert np.array_equal(read_image(tmp_path / "a.tif"), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    "values", [np.linspace(-1, 1, 64), np.full(64, 1e6), np.array([0.5] * 63 + [np.nan]), np.arange(64) * 10_000]
)
def test_what_fits_no_range_is_refused(tmp_path, values):
    tifffile.imwrite(tmp_path / "a.tif", values.reshape(8, 8).astype(np.float32))
    with pytest.raises(InvalidImageError, match="expected 0-1, 0-255 or 0-65535"):
        read_image(tmp_path / "a.tif")


def test_nearly_black_and_white_are_told(picture):
    assert brightness_notes(picture) == []
    assert brightness_notes(np.full_like(picture, 243)) == []  # glass
    assert "nearly black" in brightness_notes(picture // 100)[0]
    assert "nearly white" in brightness_notes(np.full_like(picture, 254))[0]
