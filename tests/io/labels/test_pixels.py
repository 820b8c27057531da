"""Stored numbers of label pictures of every format, depth and palette, exported and trained on, as other readers see them."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sdmae.data.labelled.label_images import read_labels
from napari_sdmae.io.images.read import InvalidImageError
from napari_sdmae.io.labels.registry import import_labels

VALUES = (np.arange(48).reshape(6, 8) % 4).astype(np.uint8)
BITS = {1: VALUES % 2, 2: VALUES, 4: VALUES, 8: VALUES, 16: VALUES}
PALETTE = [255, 255, 255, 9, 9, 9, 200, 0, 0, 1, 2, 3]


def assert_both_read(path, expected):
    """Fail unless the export and the training see the same numbers, those that are expected."""
    np.testing.assert_array_equal(read_labels(path), expected)
    np.testing.assert_array_equal(import_labels(path).labels, expected)


def assert_both_refuse(path, reason):
    with pytest.raises(InvalidImageError, match=reason):
        read_labels(path)
    with pytest.raises(InvalidImageError, match=reason):
        import_labels(path)


def write_png(path, values, bits, kind=0):
    """Write a PNG of any depth by the specification; Pillow writes no grey ones of 2 and 4 bits."""
    rows = b""
    for row in values:
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    made = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(made))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey_tiff(tmp_path, bits, photometric):
    """White as 0 is turned, as Pillow turns it; tifffile gives what is stored."""
    path = tmp_path / "mask.tif"
    stored = BITS[bits].astype({1: bool, 16: np.uint16}.get(bits, np.uint8))
    tifffile.imwrite(path, stored, photometric=photometric, **({} if bits == 1 else {"bitspersample": bits}))
    if photometric == "minisblack":
        assert_both_read(path, tifffile.imread(path))
    elif bits > 8:
        assert_both_refuse(path, "16 bits with white as 0")
    else:
        spread = 255 // (2**bits - 1) if bits > 1 else 1
        assert_both_read(path, np.asarray(Image.open(path)).astype(int) // spread)  # Pillow spreads 2 and 4 bits over 8


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "packbits"])
def test_fax_tiff_as_pillow_reads_it(tmp_path, compression):
    path = tmp_path / "mask.tif"
    Image.fromarray(VALUES % 2 == 1).save(path, compression=compression)
    assert_both_read(path, VALUES % 2)


@pytest.mark.parametrize("kind", [">u2", "<u4", ">i4", "<i2", "u8", "i8", ">f4", "f8"])
def test_numbers_of_any_type_and_byte_order(tmp_path, kind):
    tifffile.imwrite(tmp_path / "mask.tif", VALUES.astype(kind), byteorder=kind[0] if kind[0] in "<>" else None)
    assert_both_read(tmp_path / "mask.tif", VALUES)


@pytest.mark.parametrize("how", [{"tile": (16, 16)}, {"rowsperstrip": 1}, {"compression": "lzw", "predictor": True}])
def test_tiles_strips_and_predictors(tmp_path, how):
    values = np.tile(VALUES, (5, 5)).astype(np.uint16) * 9000
    tifffile.imwrite(tmp_path / "mask.tif", values, **how)
    assert_both_read(tmp_path / "mask.tif", values)


@pytest.mark.parametrize("bits", BITS)
def test_grey_png_gives_the_stored_samples(tmp_path, bits):
    write_png(tmp_path / "mask.png", BITS[bits], bits)
    assert_both_read(tmp_path / "mask.png", BITS[bits])


@pytest.mark.parametrize("end", ["png", "bmp", "gif", "tif"])
@pytest.mark.parametrize("colours", [2, 4])
def test_palettes_give_indices_also_where_the_first_is_white(tmp_path, end, colours):
    indices = VALUES % colours
    image = Image.fromarray(indices, "P")
    image.putpalette(PALETTE[: 3 * colours] if colours == 4 else [255, 255, 255, 0, 0, 0])
    bits = {"bits": 1 if colours == 2 else 2} if end == "png" else {"optimize": False} if end == "gif" else {}
    image.save(tmp_path / f"mask.{end}", **bits)
    assert_both_read(tmp_path / f"mask.{end}", indices)


@pytest.mark.parametrize(
    "picture",
    [
        np.repeat(VALUES[..., None], 3, 2),
        np.dstack([VALUES, VALUES, VALUES, np.full_like(VALUES, 255)]),
        np.dstack([VALUES, np.full_like(VALUES, 255)]),
    ],
)
def test_grey_saved_as_colour_is_grey(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "mask.png")
    assert_both_read(tmp_path / "mask.png", VALUES)
    photometric = "minisblack" if picture.shape[2] == 2 else "rgb"
    tifffile.imwrite(tmp_path / "mask.tif", picture, photometric=photometric, extrasamples=[2] * (picture.shape[2] != 3))
    assert_both_read(tmp_path / "mask.tif", VALUES)


def test_what_is_no_label_picture_says_why(tmp_path):
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[0, 0] = 255, 0, 0
    Image.fromarray(colours).save(tmp_path / "colours.png")
    assert_both_refuse(tmp_path / "colours.png", r"2 colours: \(0, 0, 0\), \(255, 0, 0\)")
    Image.fromarray(np.dstack([VALUES] * 4)).save(tmp_path / "glass.png")
    assert_both_refuse(tmp_path / "glass.png", "partly transparent")
    tifffile.imwrite(tmp_path / "lossy.tif", np.tile(VALUES, (4, 4)), compression="jpeg")
    assert_both_refuse(tmp_path / "lossy.tif", "compressed as JPEG")
    tifffile.imwrite(tmp_path / "stack.tif", np.repeat(VALUES[None], 5, 0), metadata={"axes": "ZYX"}, photometric="minisblack")
    assert_both_refuse(tmp_path / "stack.tif", "5 planes in it")
    tifffile.imwrite(tmp_path / "two.tif", VALUES)
    tifffile.imwrite(tmp_path / "two.tif", VALUES.astype(np.uint16), append=True)
    assert_both_refuse(tmp_path / "two.tif", "2 pictures of one size")
    tifffile.imwrite(tmp_path / "large.tif", np.full((2, 2), 2.0**25, np.float32))
    assert_both_refuse(tmp_path / "large.tif", "whole numbers")
    Image.new("CMYK", (4, 4)).save(tmp_path / "print.tif")
    assert_both_refuse(tmp_path / "print.tif", "SEPARATED")
    frames = [Image.fromarray(VALUES), Image.fromarray(VALUES * 2)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    assert_both_refuse(tmp_path / "film.gif", "2 pictures in it")
