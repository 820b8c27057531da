from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data.tiles.grid import cut, grid_starts, tile_count, tissue_fraction
from napari_sdmae.io.images.read import InvalidImageError, read_header, read_image

NO_FILTER = TilesConfig(tissue_filter=False)


@pytest.fixture(scope="module")
def region(tissue: Path) -> np.ndarray:
    return read_image(tissue / "regions" / "skin_morphea.jpg")


@pytest.fixture(scope="module")
def tiles(tissue: Path) -> np.ndarray:
    return np.stack([read_image(path) for path in sorted(tissue.glob("tiles/*/*.jpg"))])


@pytest.mark.parametrize(
    ("length", "expected"),
    [(256, [0]), (512, [0, 256]), (600, [0, 256, 344]), (543, [0, 256]), (544, [0, 256, 288]), (200, [0]), (128, [0])],
)
def test_grid(length, expected):
    assert grid_starts(length, 256).tolist() == expected


def test_too_small_for_a_tile():
    with pytest.raises(InvalidImageError, match="127 px on one side"):
        grid_starts(127, 256)
    assert tile_count(127, 5000, 256) == 0


def assembled(path: Path, edge: int) -> tuple[np.ndarray, np.ndarray]:
    parts = list(cut(path, edge, NO_FILTER))
    return np.concatenate([tiles for tiles, _ in parts]), np.concatenate([positions for _, positions in parts])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (300, 520), (511, 257), (128, 600), (600, 100), (64, 64), (33, 40)])
def test_tiles_are_cut_where_they_say(region, tmp_path, height, width, suffix):
    image = region[:height, :width]
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(image).save(path)
    tiles, positions = assembled(path, 64)
    assert tiles.shape == (tile_count(height, width, 64), 64, 64, 3)
    padded = np.pad(image, [(0, max(0, 64 - height)), (0, max(0, 64 - width)), (0, 0)], mode="symmetric")
    for tile, (row, column) in zip(tiles, positions, strict=True):
        assert np.array_equal(tile, padded[row : row + 64, column : column + 64])
    assert len({tuple(position) for position in positions.tolist()}) == len(positions)


def test_border_is_covered(region, tmp_path):
    Image.fromarray(region[:300, :500]).save(tmp_path / "a.png")
    _, positions = assembled(tmp_path / "a.png", 128)
    covered = np.zeros((300, 500), bool)
    for row, column in positions:
        covered[row : row + 128, column : column + 128] = True
    assert covered.all()


def test_filter_keeps_tissue_and_drops_glass(tissue, tmp_path):
    tile = read_image(sorted(tissue.glob("tiles/colon/*.jpg"))[0])
    glass = np.full_like(tile, 243)
    Image.fromarray(np.concatenate([glass, tile, glass], axis=1)).save(tmp_path / "a.png")
    ((kept, positions),) = cut(tmp_path / "a.png", 256, TilesConfig())
    assert np.array_equal(kept, tile[None])
    assert positions.tolist() == [[0, 256]]
    ((everything, _),) = cut(tmp_path / "a.png", 256, NO_FILTER)
    assert len(everything) == 3


def test_every_shipped_tile_shows_tissue(tiles):
    assert tissue_fraction(tiles).min() > 0.3


@pytest.mark.parametrize(
    "colour", [(255, 255, 255), (243, 243, 243), (225, 220, 222), (180, 180, 181), (0, 0, 0), (250, 246, 225)]
)
def test_glass_and_darkness_are_no_tissue(colour):
    noise = np.random.default_rng(0).normal(0, 2, (1, 64, 64, 3))
    tile = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    assert tissue_fraction(tile)[0] < 0.02


def test_fraction_is_proportional(tiles):
    full = tissue_fraction(tiles)
    half = tiles.copy()
    half[:, 128:] = 245
    expected = tissue_fraction(tiles[:, :128]) / 2
    assert np.abs(tissue_fraction(half) - expected).max() < 1e-6
    assert (tissue_fraction(half) <= full).all()


def test_fraction_changes_little_with_focus_light_and_stain(tiles):
    some = tiles[::16]
    blurred = np.stack([np.asarray(Image.fromarray(tile).filter(ImageFilter.GaussianBlur(1))) for tile in some])
    dimmed = (some * 0.93).astype(np.uint8)
    for changed in (blurred, dimmed, some[:, ::-1], some.transpose(0, 2, 1, 3)):
        assert np.abs(tissue_fraction(changed) - tissue_fraction(some)).mean() < 0.08


def test_grey_tissue_is_tissue(tiles):
    grey = np.repeat(tiles[:40].mean(axis=3, keepdims=True).astype(np.uint8), 3, axis=3)
    assert np.abs(tissue_fraction(grey) - tissue_fraction(tiles[:40])).mean() < 0.15
    assert tissue_fraction(np.full((1, 64, 64, 3), 240, np.uint8))[0] == 0


def test_agrees_with_saturation_the_usual_measure(tiles):
    from skimage.color import rgb2hsv

    expected = (rgb2hsv(tiles[::4])[..., 1] > 0.1).mean(axis=(1, 2))
    found = tissue_fraction(tiles[::4])
    assert np.corrcoef(found, expected)[0, 1] > 0.95
    assert np.abs(found - expected).mean() < 0.05


def test_shipped_table_names_every_tile(tissue):
    with (tissue / "tiles.csv").open() as file:
        rows = list(csv.DictReader(file))
    shipped = sorted(path.relative_to(tissue).as_posix() for path in tissue.glob("tiles/*/*.jpg"))
    assert sorted(row["file"] for row in rows) == shipped
    assert all(0.4 < float(row["mpp"]) < 0.6 for row in rows)


@pytest.mark.parametrize("size", [(300, 256), (256, 300), (200, 256)])
def test_an_image_exchanged_after_its_header_was_read_is_refused(tmp_path, region, size):
    path = tmp_path / "a.png"
    Image.fromarray(region[:256, :256]).save(path)
    header = read_header(path)
    Image.fromarray(region[: size[0], : size[1]]).save(path)
    with pytest.raises(InvalidImageError, match="exchanged while it was read"):
        list(cut(path, 256, NO_FILTER, header))


def test_a_tile_is_opened_no_more_often_than_needed(tissue, monkeypatch):
    path = min(tissue.glob("tiles/*/*.jpg"))
    opened = []
    real = io.open
    monkeypatch.setattr(io, "open", lambda file, *args, **options: opened.append(str(file)) or real(file, *args, **options))
    monkeypatch.setattr("builtins.open", io.open)
    (chunk,) = cut(path, 256, NO_FILTER, read_header(path))
    assert len(chunk[0]) == 1
    assert opened.count(str(path)) <= 4, "kind and content, of the header and of the pixels"
