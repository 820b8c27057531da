"""Metamorphic tests: the same real tissue, written in every way, reads back as the same picture."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sdmae.io.images import read
from napari_sdmae.io.images.read import InvalidImageError, image_size, read_bands, read_image, read_mpp


@pytest.fixture(scope="module")
def picture(tissue: Path) -> np.ndarray:
    """A tile of real tissue, (200, 256, 3): not square, so that a transposed reading shows."""
    tile = sorted((tissue / "tiles" / "colon").glob("*.jpg"))[0]
    return np.asarray(Image.open(tile).convert("RGB"))[:200]


@pytest.fixture(scope="module")
def grey(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).convert("L"))


def three(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.PNG"])
def test_lossless_rgb(picture, tmp_path, name):
    Image.fromarray(picture).save(tmp_path / name)
    assert np.array_equal(read_image(tmp_path / name), picture)
    assert image_size(tmp_path / name) == (200, 256)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 30}])
def test_jpeg_equals_pillow(picture, tmp_path, options):
    path = tmp_path / "a.jpg"
    Image.fromarray(picture).save(path, **options)
    assert np.array_equal(read_image(path), np.asarray(Image.open(path)))


def test_shipped_tiles_equal_pillow(tissue):
    for path in sorted(tissue.glob("tiles/*/*.jpg"))[::24]:
        assert np.array_equal(read_image(path), np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_grey(grey, tmp_path, name):
    Image.fromarray(grey).save(tmp_path / name)
    assert np.array_equal(read_image(tmp_path / name), three(grey))


def test_grey_jpeg(grey, tmp_path):
    Image.fromarray(grey).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - three(grey)).mean() < 2


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_palette(picture, tmp_path, name):
    palette = Image.fromarray(picture).quantize(200)
    palette.save(tmp_path / name)
    assert np.array_equal(read_image(tmp_path / name), np.asarray(palette.convert("RGB")))


def test_palette_with_transparency(picture, tmp_path):
    palette = Image.fromarray(picture).quantize(200)
    index = int(np.asarray(palette)[0, 0])
    palette.save(tmp_path / "a.png", transparency=index)
    expected = np.asarray(palette.convert("RGB")).copy()
    expected[np.asarray(palette) == index] = 255
    assert np.array_equal(read_image(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_transparency_is_laid_on_white(picture, tmp_path, name):
    alpha = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (200, 1))
    rgba = np.dstack([picture, alpha])
    Image.fromarray(rgba).save(tmp_path / name)
    weight = alpha[..., None] / 255
    expected = picture * weight + 255 * (1 - weight)
    assert np.abs(read_image(tmp_path / name) - expected).max() <= 1
    assert (read_image(tmp_path / name)[:, 0] == 255).all()


def test_premultiplied_transparency(picture, tmp_path):
    alpha = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (200, 1))
    weight = alpha[..., None] / 255
    stored = np.dstack([np.rint(picture * weight).astype(np.uint8), alpha])
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    expected = picture * weight + 255 * (1 - weight)
    assert np.abs(read_image(tmp_path / "a.tif") - expected).max() <= 1.01


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_cmyk(picture, tmp_path, name):
    cmyk = Image.fromarray(picture).convert("CMYK")
    cmyk.save(tmp_path / name, **({"quality": 98, "subsampling": 0} if name.endswith("jpg") else {}))
    tolerance = 3 if name.endswith("jpg") else 0.6
    assert np.abs(read_image(tmp_path / name).astype(int) - picture).mean() < tolerance


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_sixteen_bits_of_any_camera(picture, tmp_path, bits, name):
    values = np.rint(picture / 255 * (2**bits - 1)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, values, photometric="rgb")
    else:
        import imagecodecs

        (tmp_path / name).write_bytes(imagecodecs.png_encode(values))
    expected = picture.copy()
    expected[0, 0] = 255
    assert np.abs(read_image(tmp_path / name).astype(int) - expected).max() <= 1


def test_sixteen_bit_grey_png(grey, tmp_path):
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), three(grey))


@pytest.mark.parametrize("scale", [1, 255, 65535])
def test_float_tiff(picture, tmp_path, scale):
    values = (picture / 255 * scale).astype(np.float32)
    values[0, 0] = scale
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    assert np.abs(read_image(tmp_path / "a.tif")[1:].astype(int) - picture[1:]).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        np.full((8, 8), np.nan, np.float32),
        np.full((8, 8), -1.0, np.float32),
        np.full((8, 8), 1e6, np.float32),
        np.zeros((8, 8), np.complex64),
    ],
)
def test_impossible_values_are_explained(tmp_path, values):
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(InvalidImageError, match="expected"):
        read_image(tmp_path / "a.tif")


def test_bilevel_and_min_is_white(grey, tmp_path):
    bilevel = Image.fromarray(grey).point(lambda value: 255 * (value > 128)).convert("1")
    for name in ("a.png", "a.tif"):
        bilevel.save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name), three(np.asarray(bilevel) * np.uint8(255)))
    tifffile.imwrite(tmp_path / "white.tif", 255 - grey, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "white.tif"), three(grey))


@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "separate"},
        {"tile": (64, 64)},
        {"rowsperstrip": 7},
        {"compression": "zlib"},
        {"compression": "lzw"},
        {"tile": (64, 64), "compression": "zlib", "predictor": True},
        {"bigtiff": True},
        {"byteorder": ">"},
    ],
)
def test_tiff_layouts(picture, tmp_path, options):
    stored = picture.transpose(2, 0, 1) if "planarconfig" in options else picture
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **options)
    assert np.array_equal(read_image(tmp_path / "a.tif"), picture)
    for rows in (1, 50, 64, 200, 300):
        assert np.array_equal(np.concatenate(list(read_bands(tmp_path / "a.tif", rows))), picture)


def test_ome_with_channels_as_planes(picture, tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, picture.transpose(2, 0, 1), metadata={"axes": "CYX"}, photometric="minisblack")
    assert np.array_equal(read_image(path), picture)
    assert image_size(path) == (200, 256)


def test_five_channels_are_refused(grey, tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.stack([grey] * 5), metadata={"axes": "CYX"}, photometric="minisblack")
    with pytest.raises(InvalidImageError, match="5 channels; expected 1"):
        read_image(path)


def test_first_plane_of_a_stack(grey, tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.stack([grey, 255 - grey]), metadata={"axes": "ZYX"}, photometric="minisblack")
    assert np.array_equal(read_image(path), three(grey))
    Image.fromarray(grey).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(255 - grey)])
    assert np.array_equal(read_image(tmp_path / "pages.tif"), three(grey))


def test_largest_page_or_level_wins(picture, tmp_path, tissue):
    small = np.ascontiguousarray(picture[::4, ::4])
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        file.write(small, photometric="rgb")
        file.write(picture, photometric="rgb")
    assert np.array_equal(read_image(tmp_path / "pages.tif"), picture)
    pyramid = tissue / "regions" / "duodenum_celiac-disease.ome.tif"
    assert image_size(pyramid) == (2048, 2048)
    assert read_image(pyramid).shape == (2048, 2048, 3)


def test_bands_of_a_jpeg_pyramid_equal_the_whole(tissue):
    pyramid = tissue / "regions" / "duodenum_celiac-disease.ome.tif"
    assert np.array_equal(np.concatenate(list(read_bands(pyramid, 300))), read_image(pyramid))


def test_exif_orientation_is_not_applied(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "b.png"):
        Image.fromarray(picture).save(tmp_path / name, exif=exif)
        assert read_image(tmp_path / name).shape == (200, 256, 3)
        assert image_size(tmp_path / name) == (200, 256)


def test_suffix_does_not_matter(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), picture)


def encoded(picture: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("part", [0.02, 0.4, 0.9])
def test_truncated(picture, tmp_path, kind, part):
    data = encoded(picture, kind)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InvalidImageError, match=r"damaged|cut short|not a PNG"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_flipped_bytes_never_crash(picture, tmp_path, kind):
    data = encoded(picture[:64, :64], kind)
    generator = np.random.default_rng(0)
    path = tmp_path / "flipped"
    for _ in range(60):
        damaged = bytearray(data)
        damaged[generator.integers(len(data))] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        with contextlib.suppress(InvalidImageError):
            assert read_image(path).shape[2] == 3
            read_mpp(path)


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"<html>not found</html>", "not a PNG"), (b"II*\0", "damaged")])
def test_no_image_at_all(tmp_path, content, reason):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for function in (read_image, image_size, read_mpp):
        with pytest.raises(InvalidImageError, match=reason):
            function(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InvalidImageError, match="no such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(InvalidImageError, match="folder"):
        read_image(tmp_path)


def test_size_limits_are_said(picture, tmp_path, monkeypatch):
    Image.fromarray(picture).save(tmp_path / "a.jpg")
    Image.fromarray(picture).save(tmp_path / "a.tif")
    monkeypatch.setattr(read, "MAX_PIXELS", 10_000)
    for name in ("a.jpg", "a.tif"):
        with pytest.raises(InvalidImageError, match="at most 0 can be decoded in one piece"):
            read_image(tmp_path / name)
    assert np.array_equal(np.concatenate(list(read_bands(tmp_path / "a.tif", 64))), picture)  # bands have no limit


def test_pillow_keeps_its_limit(picture, tmp_path, monkeypatch):
    Image.fromarray(picture).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InvalidImageError, match="too many for this format"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("dpi", "mpp"), [(72, None), (96, None), (300, None), (600, None), (50_800, 0.5), (101_600, 0.25)])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_mpp_from_resolution(picture, tmp_path, name, dpi, mpp):
    Image.fromarray(picture).save(tmp_path / name, dpi=(dpi, dpi))
    found = read_mpp(tmp_path / name)
    assert found == (None if mpp is None else pytest.approx(mpp, rel=1e-3))


def test_mpp_of_jpeg(picture, tmp_path):
    for dpi, mpp in ((72, None), (50_800, 0.5)):
        Image.fromarray(picture).save(tmp_path / "a.jpg", dpi=(dpi, dpi))
        assert read_mpp(tmp_path / "a.jpg") == mpp
    Image.fromarray(picture).save(tmp_path / "b.jpg")
    assert read_mpp(tmp_path / "b.jpg") is None


def test_mpp_of_tiff_kinds(picture, tmp_path, tissue):
    write = tifffile.imwrite
    write(tmp_path / "cm.tif", picture, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    write(tmp_path / "none.tif", picture, resolution=(20_000, 20_000), resolutionunit="NONE")
    write(tmp_path / "ome.ome.tif", picture, metadata={"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"})
    write(tmp_path / "aperio.tif", picture, description="Aperio Image\r\n|AppMag = 20|MPP = 0.4990|Left = 1", metadata=None)
    write(tmp_path / "imagej.tif", picture, imagej=True, resolution=(4, 4), metadata={"unit": "um", "axes": "YXS"})
    write(tmp_path / "far.ome.tif", picture, metadata={"axes": "YXS", "PhysicalSizeX": 1, "PhysicalSizeXUnit": "mm"})
    found = {path.name: read_mpp(path) for path in tmp_path.iterdir()}
    assert found == {
        "cm.tif": 0.5,
        "none.tif": None,
        "ome.ome.tif": 0.25,
        "aperio.tif": 0.499,
        "imagej.tif": 0.25,
        "far.ome.tif": None,
    }
    assert read_mpp(tissue / "regions" / "duodenum_celiac-disease.ome.tif") == 0.5
    assert read_mpp(tissue / "regions" / "skin_morphea.jpg") is None
