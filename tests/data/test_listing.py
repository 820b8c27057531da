"""Everything in a folder is counted, and pictures that show nothing are told of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sdmae.cli.common.inputs import gather
from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import DataError, find_images, fingerprint
from napari_sdmae.data.labelled.notes import picture_warnings, turned_fits
from napari_sdmae.data.listing import list_folder
from napari_sdmae.data.tiles.cache import open_cache, prepare_tiles
from napari_sdmae.data.tiles.inspect import inspect
from napari_sdmae.io.images.read import image_size


@pytest.fixture
def folder(tissue: Path, tmp_path: Path) -> Path:
    """Two tiles, and whatever else people have in their folders."""
    folder = tmp_path / "data"
    (folder / "__MACOSX").mkdir(parents=True)
    (folder / "slide.zarr" / "0").mkdir(parents=True)
    for path in sorted(tissue.glob("tiles/skin/*.jpg"))[:2]:
        shutil.copy2(path, folder)
    for name in ("a.svs", "b.webp", "c.WEBP", "d.jp2", "notes.txt", "table.csv", "no_end"):
        (folder / name).write_bytes(b"x")
    for name in ("._a.jpg", ".DS_Store", "Thumbs.db", "__MACOSX/a.jpg", "slide.zarr/0/a.png"):
        (folder / name).write_bytes(b"x")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.tif")
    return folder


def settings(tmp_path: Path, **changes: object) -> TilesConfig:
    return TilesConfig.model_validate({"cache": tmp_path / "cache", "tissue_filter": False, "max_unusable": 0.9} | changes)


def test_everything_is_counted(folder):
    found = list_folder(folder)
    assert len(found.images) == 2
    assert dict(found.other_pictures) == {".svs": 1, ".webp": 2, ".jp2": 1, ".zarr": 1}
    assert dict(found.rest) == {".txt": 1, ".csv": 1, "no end": 1}
    assert dict(found.unreachable) == {
        "gone.png": "a link to a file that is not there",
        "pipe.tif": "no file, but a device, a pipe or a socket",
    }


def test_inspection_and_run_tell_it(folder, tmp_path):
    found = inspect(folder, settings(tmp_path))
    assert "2 images can be used, 2 cannot" in found.summary()
    assert "left out, as pictures of these kinds are not read: 2 .webp, 1" in found.summary()
    assert "no pictures: 1" in found.summary()
    list(prepare_tiles(folder, settings(tmp_path)))
    assert open_cache(folder, settings(tmp_path)).quarantine == found.unusable
    assert inspect(folder, settings(tmp_path)).unusable == found.unusable
    assert "more than the 10% allowed" in inspect(folder, settings(tmp_path, max_unusable=0.1)).problem


def test_a_folder_without_images_tells_what_is_there(folder):
    for path in folder.glob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match=r"not read: 2 \.webp.*gone\.png: a link"):
        find_images(folder)


def test_commands_tell_it_and_keep_results_apart(folder, capsys):
    tile = next(folder.glob("*.jpg"))
    for name in ("x.png", "x.tif", "y.png", "Y.bmp"):
        Image.open(tile).save(folder / name)
    inputs = gather([folder])
    told = capsys.readouterr().err
    assert "2 .webp" in told
    assert "gone.png is left out: a link to a file that is not there" in told
    assert {one.name for one in inputs} >= {"x.png", "x.tif", "y.png", "Y.bmp"}


def test_pictures_that_show_nothing(tissue, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (64, 64), (255, 255, 255)).save(folder / f"{number}.png")
    shutil.copy2(next(tissue.glob("tiles/skin/*.jpg")), folder)
    at_64 = settings(tmp_path, tile_px=64)
    found = inspect(folder, at_64)
    assert "6 images, such as 0.png: the picture is nearly white: it shows hardly anything" in found.notes
    assert found.warnings == []  # most tiles show tissue
    next(folder.glob("*.jpg")).unlink()
    for cached in (False, True):
        found = inspect(folder, at_64)
        assert found.cached is cached
        assert found.warnings == [
            "6 of 6 tiles hold nothing but one colour: there is nothing to learn from them",
            "6 tiles show only 1 different pictures: the others repeat them",
        ]
        list(prepare_tiles(folder, at_64))
    assert set(found.warnings) < set(open_cache(folder, at_64).warnings)
    labelled = picture_warnings([(path.name, path) for path in sorted(folder.glob("*.png"))], None, decode=True)
    assert labelled[-1] == "6 of 6 images hold nothing but one colour: nothing can be learned from them"


def test_ranges_scales_and_planes_are_told(tissue, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    tile = np.asarray(Image.open(next(tissue.glob("tiles/skin/*.jpg"))).convert("RGB"))[:128, :128]
    tifffile.imwrite(folder / "deep.tif", tile.astype(np.uint16) * 16, photometric="rgb")
    tifffile.imwrite(folder / "stack.tif", np.stack([tile, tile[::-1]]), imagej=True, metadata={"axes": "ZYXS"})
    tifffile.imwrite(folder / "far.ome.tif", tile, metadata={"axes": "YXS", "PhysicalSizeX": 250})
    notes = inspect(folder, settings(tmp_path)).notes
    assert "deep.tif: 16-bit, 12 bits used" in notes
    assert "stack.tif: plane 1 of 2 (in depth) is used; choose another with plane" in notes
    assert any("is it in nm?" in note for note in notes)
    assert "stated, and not used" in inspect(folder, settings(tmp_path)).summary()
    list(prepare_tiles(folder, settings(tmp_path)))
    cache = open_cache(folder, settings(tmp_path))
    assert [note for note in cache.warnings if "bits used" in note] == []
    assert any("plane 1 of 2" in note for note in cache.warnings)
    assert not any("nm?" in note for note in open_cache(folder, settings(tmp_path, mpp=0.25)).warnings)
    second = settings(tmp_path, plane=2)
    assert fingerprint(find_images(folder), second) != fingerprint(find_images(folder), settings(tmp_path))
    assert dict(inspect(folder, second).unusable) == {
        "deep.tif": "plane 2 was asked for: the file has 1",
        "far.ome.tif": "plane 2 was asked for: the file has 1",
    }
    list(prepare_tiles(folder, second))
    assert np.array_equal(open_cache(folder, second).tiles[0], tile[::-1])


def test_labels_of_a_turned_photograph(tissue, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    Image.open(next(tissue.glob("tiles/skin/*.jpg"))).crop((0, 0, 100, 60)).save(path, exif=exif)
    assert image_size(path) == (60, 100)
    assert "fits the turned picture" in turned_fits(path, (60, 100), (100, 60))
    assert turned_fits(path, (60, 100), (60, 99)) == ""
    assert "EXIF orientation 6 is not applied" in picture_warnings([("a.jpg", path)], None, decode=False)[0]
