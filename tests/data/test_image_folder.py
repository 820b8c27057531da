from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import DataError, find_images, fingerprint, read_headers, survey


@pytest.fixture
def folder(tissue: Path, tmp_path: Path) -> Path:
    for organ in ("skin", "brain"):
        (tmp_path / organ).mkdir()
        for path in sorted((tissue / "tiles" / organ).glob("*.jpg"))[:3]:
            shutil.copy2(path, tmp_path / organ)
    return tmp_path


def names(folder: Path) -> list[str]:
    return [file.name for file in find_images(folder)]


def test_sorted_and_recursive(folder):
    found = names(folder)
    assert len(found) == 6
    assert found == sorted(found)
    assert found[0].startswith("brain/")
    assert names(folder / found[0]) == [Path(found[0]).name]


def test_what_is_no_image_is_left_out(folder):
    before = names(folder)
    (folder / ".hidden").mkdir()
    for stray in ("notes.txt", "._tile.jpg", ".hidden.png", ".hidden/a.png", "Thumbs.db"):
        (folder / stray).write_bytes(b"x")
    (folder / "folder.png").mkdir()
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    assert names(folder) == before


def test_loops_of_links_end(folder):
    before = names(folder)
    (folder / "skin" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "skin" / "self").symlink_to(folder / "skin", target_is_directory=True)
    assert names(folder) == before


def test_linked_folder_is_read_once(folder, tmp_path_factory):
    before = names(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copy2(folder / before[0], elsewhere / "one.jpg")
    (folder / "z1").symlink_to(elsewhere, target_is_directory=True)
    (folder / "z2").symlink_to(elsewhere, target_is_directory=True)
    assert names(folder) == [*before, "z1/one.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_names_that_are_no_text_can_be_printed(folder):
    source = (folder / names(folder)[0]).read_bytes()
    Path(os.fsdecode(os.fsencode(folder) + b"/b\xff.jpg")).write_bytes(source)
    assert "b\\udcff.jpg" in names(folder)


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(DataError, match="no images in"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        find_images(tmp_path / "missing")


def test_fingerprint_follows_files_and_cutting(folder):
    settings = TilesConfig()
    start = fingerprint(find_images(folder), settings)
    assert start == fingerprint(find_images(folder), TilesConfig(mpp=0.5, max_unusable=0.5, cache=folder))
    assert start == fingerprint(find_images(folder), settings)
    others = [TilesConfig(tile_px=64), TilesConfig(min_tissue=0.5), TilesConfig(tissue_filter=False)]
    changed = {fingerprint(find_images(folder), other) for other in others}
    first = folder / names(folder)[0]
    os.utime(first, ns=(1, 1))
    changed.add(fingerprint(find_images(folder), settings))
    first.rename(first.with_name("renamed.jpg"))
    changed.add(fingerprint(find_images(folder), settings))
    assert len(changed | {start}) == 6


def test_without_tissue_filter_the_least_tissue_does_not_matter(folder):
    files = find_images(folder)
    assert len({fingerprint(files, TilesConfig(tissue_filter=False, min_tissue=least)) for least in (0, 0.1, 0.9)}) == 1


def test_moved_folder_keeps_its_fingerprint(folder, tmp_path_factory):
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("copy") / "data", copy_function=shutil.copy2)
    assert fingerprint(find_images(copy), TilesConfig()) == fingerprint(find_images(folder), TilesConfig())


def edge(folder: Path, tile_px: int | None = None) -> int:
    settings = TilesConfig(tile_px=tile_px)
    return survey(read_headers(find_images(folder)), settings).edge


def test_edge_of_ready_made_tiles(folder, tmp_path_factory):
    assert edge(folder) == 256
    assert edge(folder, 64) == 64
    smaller = tmp_path_factory.mktemp("smaller")
    for index, file in enumerate(find_images(folder)):
        image = Image.open(file.path).resize((224, 224))
        image.save(smaller / f"{index}.png")
    assert edge(smaller) == 224
    Image.new("RGB", (90, 80)).save(smaller / "odd.png")
    assert edge(smaller) == 224  # one image of another size does not change what the others are
    for file in find_images(smaller)[:6]:
        Image.open(file.path).resize((600, 600)).save(file.path, compress_level=0)
    assert edge(smaller) == 256


def test_survey_lists_what_cannot_be_read(folder):
    (folder / "empty.png").touch()
    found = survey(read_headers(find_images(folder)), TilesConfig())
    assert found.unusable == [("empty.png", "the file is empty")]
    assert len(found.readable) == 6


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):  # root may read everything: permissions alone would not be a test there
        if Path(path).name == "skin":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"skin cannot be read \(Permission denied\)"):
        find_images(folder)
