"""Features of tiles: the same as timm's own pooling, at the right places, in files that others read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.inference.embedding.embed import Tiling, embed
from napari_sdmae.inference.embedding.files import writing
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.checkpoints.load import Encoder, load_encoder
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.io.images.pictures import ArrayPicture, Part
from napari_sdmae.io.images.read import read_image
from napari_sdmae.labels.label_map import make_classes

RGB = NDArray[np.uint8]


@pytest.fixture(scope="module")
def encoder(model_folder: Path) -> Encoder:
    return load_encoder(model_folder)


@pytest.fixture(scope="module")
def skin(tissue: Path) -> RGB:
    return read_image(tissue / "regions" / "skin_morphea.jpg")[600:800, 500:830]


def all_of(
    encoder: Encoder, picture: ArrayPicture | Part, **options: object
) -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
    found = list(embed(encoder, picture, **options))  # type: ignore[arg-type]
    places = [(int(row), int(column)) for some in found for row, column in zip(some.rows, some.columns, strict=True)]
    return np.concatenate([some.features for some in found]), places


def test_features_are_the_mean_of_the_normed_patch_tokens(encoder: Encoder, skin: RGB) -> None:
    features, places = all_of(encoder, ArrayPicture(skin, 0.5), batch=3)
    assert places == [(row, column) for row in (0, 64, 128, 136) for column in (0, 64, 128, 192, 256, 266)]
    for feature, (row, column) in list(zip(features, places, strict=True))[::5]:
        tile = torch.from_numpy(skin[row : row + 64, column : column + 64].copy())[None]
        with torch.inference_mode():
            tokens = encoder.vit.forward_features(encoder.normalise(tile))[0, encoder.vit.num_prefix_tokens :]
        np.testing.assert_allclose(feature, tokens.mean(0).numpy(), atol=2e-5)
    tokens, _ = all_of(encoder, ArrayPicture(skin, 0.5), pool="tokens")
    assert tokens.shape == (24, 16, 48)
    np.testing.assert_allclose(tokens.mean(1), features, atol=2e-5)


def test_tiles_are_taken_at_the_scale_of_the_model_and_placed_in_the_source(encoder: Encoder, skin: RGB) -> None:
    double = ArrayPicture(skin.repeat(2, 0).repeat(2, 1), 0.25)
    features, places = all_of(encoder, ArrayPicture(skin, 0.5), tiling=Tiling(stride=40))
    finer, finer_places = all_of(encoder, double, tiling=Tiling(stride=40))
    assert finer_places == [(2 * row, 2 * column) for row, column in places]
    np.testing.assert_allclose(finer, features, atol=0.15)  # bilinear reduction is no exact mean of 2 × 2
    assert next(iter(embed(encoder, double))).size == 128
    part, part_places = all_of(encoder, Part(ArrayPicture(skin, 0.5), (40, 80, 64, 64)))
    assert part_places == [(40, 80)]
    np.testing.assert_allclose(part[0], features[places.index((40, 80))], atol=2e-5)


def test_glass_is_left_out_on_request(encoder: Encoder, skin: RGB) -> None:
    picture = np.full((128, 192, 3), 240, np.uint8)
    picture[:, 128:] = skin[:128, :64]
    everything, _ = all_of(encoder, ArrayPicture(picture, 0.5))
    _, places = all_of(encoder, ArrayPicture(picture, 0.5), tiling=Tiling(min_tissue=0.3))
    assert len(everything) == 6
    assert places == [(0, 128), (64, 128)]


def test_what_does_not_fit_is_said(encoder: Encoder, skin: RGB) -> None:
    with pytest.raises(ValueError, match="multiple of the model's patch of 16 px"):
        list(embed(encoder, ArrayPicture(skin, 0.5), tiling=Tiling(tile=50)))
    with pytest.raises(ValueError, match="stride 0"):
        list(embed(encoder, ArrayPicture(skin, 0.5), tiling=Tiling(stride=0)))
    with pytest.raises(InvalidFieldError, match="less than one tile"):
        list(embed(encoder, ArrayPicture(skin[:40], 0.5)))


def test_heads_have_features_too(tmp_path: Path, skin: RGB) -> None:
    small = {"width": 48, "depth": 2, "heads": 3, "tile_size": 64}
    config = FinetuneConfig(task="classification", data="x", encoder=small, mpp=0.5)
    model = new_head(config, make_classes(["a", "b"])).eval()
    save_head(tmp_path / "head", model)
    features, places = all_of(load_encoder(tmp_path / "head"), ArrayPicture(skin, 0.5))
    with torch.inference_mode():
        tile = torch.from_numpy(skin[places[7][0] :, places[7][1] :][:64, :64].copy())[None]
        np.testing.assert_allclose(features[7], model.pooled(model.normalise(tile))[0].numpy(), atol=2e-5)


@pytest.mark.parametrize("pool", ["mean", "tokens"])
def test_files_hold_the_features_with_their_places(encoder: Encoder, skin: RGB, tmp_path: Path, pool: str) -> None:
    pictures = {"a.png": ArrayPicture(skin, 0.5), "b.png": ArrayPicture(skin[:100], None)}
    about = {"model": "small", "pool": pool, "tile": 64}
    expected = []
    for end in ("npz", "parquet"):
        expected = []
        with writing(tmp_path / f"features.{end}", about) as writer:
            for name, picture in pictures.items():
                for some in embed(encoder, picture, pool=pool):  # type: ignore[arg-type]
                    writer.add(name, picture.mpp, some)
                    expected.append(some)
    features = np.concatenate([some.features for some in expected])
    npz = np.load(tmp_path / "features.npz", allow_pickle=False)
    np.testing.assert_array_equal(npz["features"], features)
    assert npz["files"].tolist() == ["a.png", "b.png"]
    table = pd.read_parquet(tmp_path / "features.parquet")
    np.testing.assert_array_equal(np.stack(table["features"]).reshape(features.shape), features)
    assert table["file"].tolist() == npz["files"][npz["file"]].tolist()
    for name in ("row", "column", "size"):
        np.testing.assert_array_equal(table[name], npz[name])
        if name != "size":
            np.testing.assert_array_equal(npz[name], np.concatenate([getattr(some, f"{name}s") for some in expected]))
    np.testing.assert_array_equal(table["mpp"], npz["mpp"])
    assert np.isnan(npz["mpp"]).sum() == (table["file"] == "b.png").sum() > 0
    told = json.loads(pq.read_schema(tmp_path / "features.parquet").metadata[b"sdmae"])
    assert told == about | {"shape": list(features.shape[1:])}
    assert str(npz["pool"]) == pool


@pytest.mark.parametrize("end", ["npz", "parquet"])
def test_a_file_appears_only_when_it_is_whole(encoder: Encoder, skin: RGB, tmp_path: Path, end: str) -> None:
    path = tmp_path / f"features.{end}"
    path.write_text("an older file")

    def fail() -> None:
        with writing(path, {}, overwrite=True) as writer:
            writer.add("a.png", 0.5, next(iter(embed(encoder, ArrayPicture(skin, 0.5)))))
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert path.read_text() == "an older file"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_parquet_without_pyarrow_and_other_ends_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"ends in \.npz or \.parquet"), writing(tmp_path / "features.csv", {}):
        pass
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"pip install 'napari-sdmae\[parquet\]'"), writing(tmp_path / "features.parquet", {}):
        pass
