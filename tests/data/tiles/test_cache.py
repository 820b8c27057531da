from __future__ import annotations

import errno
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.listing import DataError, TileCacheError
from napari_sdmae.data.tiles import cache, journal
from napari_sdmae.data.tiles.cache import TileCache, open_cache, prepare_tiles
from napari_sdmae.data.tiles.cache_folders import list_caches
from napari_sdmae.data.tiles.inspect import inspect
from napari_sdmae.io.images.read import read_image


@pytest.fixture(scope="module")
def source(tissue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of three organs and a region that gives 64 tiles."""
    folder = tmp_path_factory.mktemp("source")
    for organ in ("skin", "brain", "colon"):
        shutil.copytree(tissue / "tiles" / organ, folder / organ)
    shutil.copy2(tissue / "regions" / "skin_morphea.jpg", folder / "region.jpg")
    return folder


OPEN = io.open


def filled(source: Path, settings: TilesConfig) -> TileCache:
    list(prepare_tiles(source, settings))
    return open_cache(source, settings)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def test_tiles_are_the_pixels_of_the_files(source, tmp_path):
    found = filled(source, TilesConfig(cache=tmp_path))
    assert found.tiles.dtype == np.uint8
    assert found.tiles.shape == (90 + 64, 256, 256, 3)
    assert found.quarantine == []
    for index in range(0, len(found.tiles), 7):
        file, row, column = found.records[index]
        image = read_image(source / found.files[file])
        assert np.array_equal(found.tiles[index], image[row : row + 256, column : column + 256])


def test_second_time_reads_nothing_but_names(source, tmp_path, monkeypatch):
    settings = TilesConfig(cache=tmp_path)
    filled(source, settings)
    monkeypatch.setattr(cache, "read_headers", None)
    monkeypatch.setattr(cache, "decode_in_order", None)
    opened = []
    monkeypatch.setattr(io, "open", lambda file, *args, **options: opened.append(Path(file)) or OPEN(file, *args, **options))
    monkeypatch.setattr("builtins.open", io.open)
    assert len(filled(source, settings).tiles) == 154
    assert opened, "the files of the cache"
    assert not [file for file in opened if file.is_relative_to(source)]


def test_progress_counts_up_and_the_generator_returns_the_cache(source, tmp_path):
    steps = prepare_tiles(source, TilesConfig(cache=tmp_path))
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            result = end.value
            break
    assert isinstance(result, TileCache)
    assert (seen[-1].done, seen[-1].total) == (91, 91)
    decode = [step.done for step in seen if "decoding" in step.message]
    assert decode == sorted(decode)


def test_not_prepared(source, tmp_path):
    with pytest.raises(DataError, match="not decoded yet"):
        open_cache(source, TilesConfig(cache=tmp_path))


def test_changed_file_makes_another_cache(source, tmp_path):
    folder = shutil.copytree(source / "skin", tmp_path / "data", copy_function=shutil.copy2)
    settings = TilesConfig(cache=tmp_path / "cache")
    first = filled(folder, settings)
    path = sorted(folder.iterdir())[0]
    Image.fromarray(read_image(path)[::-1]).save(path, quality=95)
    second = filled(folder, settings)
    assert second.fingerprint != first.fingerprint
    assert not np.array_equal(first.tiles[0], second.tiles[0])


def test_changing_the_array_never_reaches_the_disk(source, tmp_path):
    settings = TilesConfig(cache=tmp_path)
    first = filled(source, settings)
    before = contents(first.folder)
    first.tiles[:] = 0
    del first
    assert contents(open_cache(source, settings).folder) == before


FILL = """
import sys
from pathlib import Path
from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.tiles import cache, journal
journal.FLUSH_S = 0.0
cache.PROGRESS_S = 0.0
for progress in cache.prepare_tiles(Path(sys.argv[1]), TilesConfig(cache=Path(sys.argv[2]))):
    print(progress.done, progress.message, flush=True)
"""


def start_filling(source: Path, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", FILL, str(source), str(root)], stdout=subprocess.PIPE, text=True)


def test_killed_at_random_moments(source, tmp_path):
    """SIGKILL while images are decoded; what is finished later equals an uninterrupted cache bit for bit."""
    expected = contents(filled(source, TilesConfig(cache=tmp_path / "whole")).folder)
    generator = random.Random(1)
    killed, reached = 0, 0
    for attempt in range(6):
        process = start_filling(source, tmp_path / "killed")
        assert process.stdout is not None
        for line in process.stdout:
            done = int(line.split()[0])
            if "decoding" in line and done >= reached + 3:
                reached = done
                time.sleep(generator.uniform(0, 0.02) if attempt else 0)
                process.send_signal(signal.SIGKILL)
                break
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 4
    assert reached >= 12  # it went on, instead of starting again
    found = filled(source, TilesConfig(cache=tmp_path / "killed"))
    assert contents(found.folder) == expected


@pytest.mark.parametrize("damage", ["torn line", "missing tiles", "no journal", "spare tiles", "other names"])
def test_half_written_files_are_repaired(source, tmp_path, damage):
    settings = TilesConfig(cache=tmp_path)
    folder = filled(source, settings).folder
    expected = contents(folder)
    (folder / cache.COMPLETE).unlink()
    tiles, lines = folder / journal.TILES, folder / journal.JOURNAL
    if damage == "torn line":
        lines.write_bytes(lines.read_bytes()[:-20])
    elif damage == "missing tiles":
        os.truncate(tiles, tiles.stat().st_size - 100_000)
    elif damage == "no journal":
        lines.unlink()
    elif damage == "spare tiles":
        with tiles.open("ab") as file:
            file.write(b"x" * 1000)
    else:
        lines.write_bytes(lines.read_bytes().replace(b"brain/", b"liver/"))
    assert contents(filled(source, settings).folder) == expected


OTHER_FORMATS = {
    "a key more": lambda text: text.replace("{", '{"version": 9,', 1),
    "a key less": lambda text: text.replace('"mpps"', '"scales"'),
    "another type": lambda text: text.replace('"edge": 256', '"edge": "large"'),
    "broken": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[]",
}


@pytest.mark.parametrize("change", OTHER_FORMATS.values(), ids=OTHER_FORMATS)
def test_a_summary_of_another_version_is_ignored_and_written_anew(source, tmp_path, change):
    settings = TilesConfig(cache=tmp_path)
    folder = filled(source, settings).folder
    expected = contents(folder)
    (folder / cache.COMPLETE).write_text(change((folder / cache.COMPLETE).read_text()))
    assert not inspect(source, settings).cached
    with pytest.raises(DataError, match="not decoded yet"):
        open_cache(source, settings)
    assert contents(filled(source, settings).folder) == expected


def test_goes_on_after_being_left_early(source, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "PROGRESS_S", 0.0)
    settings = TilesConfig(cache=tmp_path / "early")
    for _ in range(3):
        steps = prepare_tiles(source, settings)
        for progress in steps:
            if "decoding" in progress.message:
                break
        steps.close()
    whole = filled(source, TilesConfig(cache=tmp_path / "whole"))
    assert contents(filled(source, settings).folder) == contents(whole.folder)


def test_second_process_waits(source, tmp_path):
    settings = TilesConfig(cache=tmp_path)
    process = start_filling(source, tmp_path)
    assert process.stdout is not None
    while "decoding" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGSTOP)  # it holds the lock and does nothing
    threading.Timer(0.5, process.send_signal, [signal.SIGCONT]).start()
    messages = [progress.message for progress in prepare_tiles(source, settings) if "listing" not in progress.message]
    assert "waiting" in messages[0]
    assert process.wait() == 0
    assert len(open_cache(source, settings).tiles) == 154


def test_lock_of_a_dead_process_is_taken_over(source, tmp_path):
    process = start_filling(source, tmp_path)
    assert process.stdout is not None
    while "decoding" not in process.stdout.readline():
        pass
    process.kill()
    process.wait()
    messages = [progress.message for progress in prepare_tiles(source, TilesConfig(cache=tmp_path))]
    assert not any("waiting" in message for message in messages)


@pytest.fixture
def spoilt(source: Path, tmp_path: Path) -> Path:
    """30 good tiles, one cut short, one that is no image, one too small."""
    folder = shutil.copytree(source / "skin", tmp_path / "spoilt")
    whole = sorted(folder.iterdir())[0].read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "page.png").write_text("<html>")
    Image.new("RGB", (20, 20)).save(folder / "tiny.png")
    return folder


def test_unusable_files_are_listed(spoilt, tmp_path):
    found = filled(spoilt, TilesConfig(cache=tmp_path))
    assert len(found.tiles) == 30
    assert [name for name, _ in found.quarantine] == ["cut.jpg", "page.png", "tiny.png"]
    reasons = [reason for _, reason in found.quarantine]
    assert "damaged or cut short" in reasons[0]
    assert "not a PNG" in reasons[1]
    assert "20 px on one side" in reasons[2]


def test_too_many_unusable_files(spoilt, tmp_path):
    for _ in range(2):  # also when the cache is there already
        with pytest.raises(DataError, match=r"3 of 33 images cannot be used, more than the 5% allowed.*cut\.jpg"):
            list(prepare_tiles(spoilt, TilesConfig(cache=tmp_path, max_unusable=0.05)))
    assert len(filled(spoilt, TilesConfig(cache=tmp_path, max_unusable=0.1)).tiles) == 30


def test_damaged_half_of_a_large_image_leaves_no_tiles(tissue, tmp_path, monkeypatch):
    """A file decoded row by row, which fails in its middle, is taken back as a whole."""
    from napari_sdmae.data.tiles import decode

    monkeypatch.setattr(decode, "SMALL_PIXELS", 1)
    folder = tmp_path / "data"
    folder.mkdir()
    region = read_image(tissue / "regions" / "skin_morphea.jpg")
    for name in ("a.tif", "b.tif", "c.tif"):
        Image.fromarray(region[:1024]).save(folder / name, compression="tiff_lzw")
    data = bytearray((folder / "b.tif").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = b"\xff" * 5000
    (folder / "b.tif").write_bytes(data)
    found = filled(folder, TilesConfig(cache=tmp_path / "cache", max_unusable=0.5, tissue_filter=False))
    assert [name for name, _ in found.quarantine] == ["b.tif"]
    assert found.records[:, 0].tolist() == [0] * 32 + [2] * 32
    assert np.array_equal(found.tiles[:32], found.tiles[32:])


def test_only_glass(tmp_path):
    (tmp_path / "data").mkdir()
    Image.new("RGB", (512, 512), (243, 243, 243)).save(tmp_path / "data" / "glass.png")
    with pytest.raises(DataError, match="none of the 1 images shows tissue"):
        list(prepare_tiles(tmp_path / "data", TilesConfig(cache=tmp_path / "cache")))


def test_disk_too_small_is_said_before(source, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5_000_000))
    with pytest.raises(
        TileCacheError,
        match=r"needs about .* MB in .*, where 5\.0 MB are free: free some space, or choose another folder \(--tiles\.cache\)",
    ):
        list(prepare_tiles(source, TilesConfig(cache=tmp_path)))
    assert not list(tmp_path.glob("tiles-*/cache.json"))


LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.tiles.cache import prepare_tiles
from napari_sdmae.data.listing import TileCacheError
try:
    list(prepare_tiles(Path(sys.argv[1]), TilesConfig(cache=Path(sys.argv[2]))))
except TileCacheError as error:
    sys.exit(str(error))
"""


def test_disk_that_fills_up_is_said_and_nothing_is_lost(source, tmp_path):
    pytest.importorskip("resource")
    result = subprocess.run([sys.executable, "-c", LIMITED, str(source), str(tmp_path / "full")], capture_output=True, text=True)
    assert result.returncode == 1
    assert "cannot be written" in result.stderr
    assert os.strerror(errno.EFBIG) in result.stderr
    whole = filled(source, TilesConfig(cache=tmp_path / "whole"))
    assert contents(filled(source, TilesConfig(cache=tmp_path / "full")).folder) == contents(whole.folder)


def test_folder_that_cannot_be_made(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TileCacheError, match="choose another one"):
        list(prepare_tiles(source, TilesConfig(cache=tmp_path / "file" / "cache")))


def test_caches_are_listed_with_their_size(source, tmp_path):
    found = filled(source, TilesConfig(cache=tmp_path))
    ((folder, size),) = list_caches(tmp_path)
    assert folder == found.folder
    assert size >= found.tiles.nbytes


def test_scale_of_the_files(tissue, source, tmp_path):
    assert filled(source, TilesConfig(cache=tmp_path)).mpp is None
    assert filled(source, TilesConfig(cache=tmp_path, mpp=0.7)).mpp == 0.7
    folder = tmp_path / "scaled"
    folder.mkdir()
    tile = read_image(next(source.glob("skin/*.jpg")))
    for index, dpi in enumerate((50_800, 51_000, 101_600)):
        Image.fromarray(tile).save(folder / f"{index}.png", dpi=(dpi, dpi))
    assert filled(folder, TilesConfig(cache=tmp_path)).mpp is None  # 0.5 and 0.25 µm/px mixed
    (folder / "2.png").unlink()
    assert filled(folder, TilesConfig(cache=tmp_path)).mpp == pytest.approx(0.499, abs=1e-3)
