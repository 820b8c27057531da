from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from napari_sdmae.cli.inspect import main
from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.tiles import estimate
from napari_sdmae.data.tiles.cache import open_cache, prepare_tiles
from napari_sdmae.data.tiles.inspect import inspect
from napari_sdmae.io.images.read import read_image


@pytest.fixture
def source(tissue: Path, tmp_path: Path) -> Path:
    """20 tiles, one of glass, and one cut short."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path in sorted(tissue.glob("tiles/skin/*.jpg"))[:20]:
        shutil.copy2(path, folder)
    Image.new("RGB", (256, 256), (243, 243, 243)).save(folder / "glass.png")
    data = next(folder.glob("*.jpg")).read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    return folder


def settings(tmp_path: Path, **changes: object) -> TilesConfig:
    return TilesConfig(cache=tmp_path / "cache", **changes)


def test_small_source_is_looked_at_completely(source, tmp_path):
    found = inspect(source, settings(tmp_path))
    assert (found.images, found.tiles, found.tile_px, found.estimated) == (21, 20, 256, False)
    assert [name for name, _ in found.unusable] == ["cut.jpg"]
    assert found.tile_bytes == 20 * 256 * 256 * 3
    assert found.problem == ""
    assert not (tmp_path / "cache").exists()  # looking leaves nothing behind
    assert "21 images can be used, 1 cannot" in found.summary()
    assert "not stated in the files" in found.summary()


def test_agrees_with_the_cache(source, tmp_path):
    before = inspect(source, settings(tmp_path))
    list(prepare_tiles(source, settings(tmp_path)))
    cache = open_cache(source, settings(tmp_path))
    after = inspect(source, settings(tmp_path))
    assert before.tiles == after.tiles == len(cache.tiles)
    assert before.unusable == after.unusable == cache.quarantine
    assert (before.cached, after.cached) == (False, True)
    assert "decoded already" in after.summary()


def test_large_source_is_estimated(source, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "SAMPLED_PIXELS", 6 * 256 * 256)
    found = inspect(source, settings(tmp_path))
    assert found.estimated
    assert 15 <= found.tiles <= 22
    assert "about" in found.summary()
    assert "estimate" in found.summary()


def test_problems_are_said_as_the_run_would(source, tmp_path):
    strict = settings(tmp_path, max_unusable=0.01)
    found = inspect(source, strict)
    assert "1 of 22 images cannot be used, more than the 1% allowed" in found.problem
    with pytest.raises(DataError) as refusal:
        list(prepare_tiles(source, strict))
    assert str(refusal.value) == found.problem
    for path in source.glob("*.jpg"):
        path.unlink()
    assert "shows tissue" in inspect(source, settings(tmp_path)).problem


def test_scales(source, tmp_path):
    tile = read_image(next(path for path in source.glob("*.jpg") if path.name != "cut.jpg"))
    Image.fromarray(tile).save(source / "x20.png", dpi=(50_800, 50_800))
    assert inspect(source, settings(tmp_path)).mpp == pytest.approx(0.5, rel=1e-3)
    Image.fromarray(tile).save(source / "x40.png", dpi=(101_600, 101_600))
    mixed = inspect(source, settings(tmp_path))
    assert mixed.mpp is None
    assert "the files differ, 0.25 to 0.5 µm/px" in mixed.summary()
    assert inspect(source, settings(tmp_path, mpp=0.4)).mpp == 0.4


def test_command(source, tmp_path, capsys):
    flags = [str(source), "--tiles.cache", str(tmp_path / "cache")]
    assert main(flags) == 0
    printed = capsys.readouterr().out
    assert "20 tiles of 256 px" in printed
    assert "cut.jpg: damaged or cut short" in printed
    assert main([*flags, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tiles"], told["preset"]) == (20, "vit-small")
    assert main([*flags, "--preset", "cpu-demo"]) == 0
    assert "preset cpu-demo: training needs about " in capsys.readouterr().out
    assert told["training_memory"] > 2e9  # 20 tiles at once, although the preset's batch is 256
    assert main([*flags, "--preset", "unknown"]) == 2
    assert "there are: vit-small" in capsys.readouterr().err
    assert main([*flags, "--tiles.max-unusable", "0"]) == 3
    assert main([str(tmp_path / "missing")]) == 3
    assert "no folder" in capsys.readouterr().err
    assert main([*flags, "--tiles.unknown", "1"]) == 2
    assert main([*flags, "--tiles.min-tissue", "7"]) == 2
    assert main([]) == 2
