"""Which picture of a file is used, and what its header may claim."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sdmae.io import memory
from napari_sdmae.io.images import read, tiff_claims
from napari_sdmae.io.images.read import InvalidImageError, image_size, read_bands, read_header, read_image
from napari_sdmae.io.images.tiff_planes import Which
from napari_sdmae.io.labels.errors import InvalidLabelsError
from napari_sdmae.io.labels.ome_tiff import read_label_tiff

PLANES = [np.full((48, 40, 3), 40 * number, np.uint8) for number in range(1, 6)]


def write(path: Path, kind: str) -> None:
    stack = np.stack(PLANES)
    if kind == "imagej":
        tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYXS"})
    elif kind == "one page":  # ImageJ writes large stacks behind a single page
        tifffile.imwrite(path, stack[..., 0], imagej=True, metadata={"axes": "ZYX"}, truncate=True)
    elif kind == "ome":
        tifffile.imwrite(path, stack, photometric="rgb", metadata={"axes": "TYXS"})
    elif kind == "planes of colours":
        tifffile.imwrite(path, stack.transpose(0, 3, 1, 2), photometric="minisblack", metadata={"axes": "ZCYX"})
    elif kind == "deflate":
        tifffile.imwrite(path, stack, photometric="rgb", metadata={"axes": "TYXS"}, compression="zlib", tile=(16, 16))
    else:
        with tifffile.TiffWriter(path, shaped=False) as file:
            for plane in PLANES:
                file.write(plane, photometric="rgb", metadata=None)


@pytest.mark.parametrize("kind", ["imagej", "one page", "ome", "planes of colours", "deflate", "pages"])
def test_planes(tmp_path, kind):
    path = tmp_path / ("a.ome.tif" if kind in ("ome", "planes of colours", "deflate") else "a.tif")
    write(path, kind)
    assert "plane 1 of 5" in read_header(path).notes[0]
    assert np.array_equal(read_image(path), PLANES[0])
    for number in (1, 4, 5):
        which = Which(plane=number)
        assert f"plane {number} of 5" in read_header(path, which).notes[0]
        assert np.array_equal(read_image(path, which), PLANES[number - 1])
        assert np.array_equal(np.concatenate(list(read_bands(path, 20, which))), PLANES[number - 1])
    with pytest.raises(InvalidImageError, match="plane 6 was asked for: the file has 5"):
        read_image(path, Which(plane=6))


def test_scenes_and_what_a_scanner_adds(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for name, size in (("left", 30), ("right", 48), ("label image", 20)):
            file.write(PLANES[0][:size], photometric="rgb", metadata={"axes": "YXS", "Name": name})
    assert image_size(path) == (48, 40)
    assert read_header(path).notes == ["scene 2 of 2 is used; choose another with scene"]
    assert image_size(path, Which(scene=1)) == (30, 40)
    with pytest.raises(InvalidImageError, match="scene 3 was asked for: the file has 2"):
        image_size(path, Which(scene=3))


def test_a_smaller_copy_is_no_scene(tmp_path, tissue):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PLANES[0], photometric="rgb")
        file.write(PLANES[0][::2, ::2], photometric="rgb")
    assert read_header(tmp_path / "a.tif").notes == []
    assert read_header(tissue / "regions" / "duodenum_celiac-disease.ome.tif").notes == []


def test_other_files_have_one_picture(tmp_path, tissue):
    tile = next((tissue / "tiles" / "colon").glob("*.jpg"))
    assert image_size(tile, Which(1, 1)) == image_size(tile)
    with pytest.raises(InvalidImageError, match="plane 2 was asked for: the file has 1"):
        read_image(tile, Which(plane=2))


@pytest.mark.parametrize("binary_only", [False, True])
def test_each_file_of_a_set_shows_its_own_pixels(tmp_path, binary_only):
    uuids = [f"urn:uuid:0000000{number}-0000-0000-0000-000000000000" for number in (0, 1)]
    data = "".join(
        f'<TiffData FirstT="{number}" IFD="0" PlaneCount="1"><UUID FileName="{number}.ome.tif">{uuid}</UUID></TiffData>'
        for number, uuid in enumerate(uuids)
    )
    pixels = '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="40" SizeY="48" SizeC="3" SizeZ="1" SizeT="2">'
    image = f'<Image ID="Image:0">{pixels}<Channel ID="Channel:0:0" SamplesPerPixel="3"/>{data}</Pixels></Image>'
    for number, uuid in enumerate(uuids):
        body = f'<BinaryOnly MetadataFile="set.companion.ome" UUID="{uuids[0]}"/>' if binary_only else image
        xml = f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">{body}</OME>'
        tifffile.imwrite(tmp_path / f"{number}.ome.tif", PLANES[number], photometric="rgb", description=xml, metadata=None)
    for number in (0, 1):
        path = tmp_path / f"{number}.ome.tif"
        assert np.array_equal(read_image(path), PLANES[number])
        assert any("only the pixels in this file" in note for note in read_header(path).notes)


def test_a_plane_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.stack(PLANES), photometric="rgb", metadata={"axes": "TYXS"})
    data = path.read_bytes()
    path.write_bytes(data.replace(b'SizeT="5"', b'SizeT="9"').replace(b'PlaneCount="5"', b'PlaneCount="5"'))
    assert np.array_equal(read_image(path), PLANES[0])
    with pytest.raises(InvalidImageError, match="plane 8 of 9 is not in this file"):
        read_image(path, Which(plane=8))


def patched(path: Path, code: int, value: int) -> None:
    """Write another value into a tag of the first page."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags[code]
        struct.pack_into("<I" if tag.dtype == 4 else "<H", data, tag.valueoffset, value)
    path.write_bytes(data)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(("code", "value"), [(257, 60_000), (256, 60_000)])
def test_claims_that_the_file_cannot_hold(tmp_path, compression, code, value):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PLANES[0], photometric="rgb", compression=compression, tile=(16, 16), metadata=None)
    patched(path, code, value)
    for reader in (read_image, image_size, read_header, lambda path: list(read_bands(path, 16))):
        with pytest.raises(InvalidImageError, match="its header claims"):
            reader(path)
    with pytest.raises(InvalidLabelsError, match="its header claims"):
        read_label_tiff(path)


@pytest.mark.parametrize("length", [1, 150])
def test_pages_in_a_circle(tmp_path, length):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, shaped=False) as file:
        for _ in range(length):
            file.write(PLANES[0][:2, :2], photometric="rgb", metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        last = file.pages[length - 1].offset
    count = struct.unpack_from("<H", data, last)[0]
    struct.pack_into("<I", data, last + 2 + 12 * count, struct.unpack_from("<I", data, 4)[0])
    path.write_bytes(data)
    with pytest.raises(InvalidImageError, match="in a circle"):
        read_image(path)


def test_pages_and_tags_have_limits(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    write(path, "pages")
    monkeypatch.setattr(tiff_claims, "MAX_PAGES", 4)
    with pytest.raises(InvalidImageError, match="more than 4 pages"):
        read_image(path)
    monkeypatch.setattr(tiff_claims, "MAX_TAGS", 4)
    with pytest.raises(InvalidImageError, match="more than 4"):
        read_image(path)


def test_what_does_not_fit_into_memory_is_not_begun(tmp_path, monkeypatch, tissue):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    monkeypatch.setattr(read.simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("decoded"))
    tifffile.imwrite(tmp_path / "a.tif", PLANES[0].astype(np.uint16), photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", PLANES[0], photometric="rgb", planarconfig="contig", rowsperstrip=48)
    for path in (tmp_path / "a.tif", next((tissue / "tiles" / "colon").glob("*.jpg"))):
        with pytest.raises(InvalidImageError, match=r"needs about .* of memory, 8\.0 kB can be used"):
            read_image(path)
    with pytest.raises(InvalidImageError, match="rows of 40 px, which are stored in one piece"):
        next(read_bands(tmp_path / "b.tif", 8))
    with pytest.raises(InvalidLabelsError, match=r"needs about .* of memory, 8\.0 kB can be used"):
        read_label_tiff(tmp_path / "a.tif")


def test_the_memory_of_a_container_counts(tmp_path, monkeypatch):
    files = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "_LIMITS", (tuple(map(str, files)), ("/nowhere", "/nowhere")))
    machine = memory.available_memory()
    assert machine > 10_000
    for text, left in (("5000", 3000), ("1000", 0)):
        files[0].write_text(text)
        files[1].write_text("2000\n")
        assert memory.available_memory() == left
    files[0].write_text("max\n")
    assert memory.available_memory() > 10_000
