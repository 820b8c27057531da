"""What the worker computes is what the package computes, and stays in memory."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.inference import attention_maps, encode_field, reconstruct
from napari_sdmae.inference.attention.result import AttentionResult
from napari_sdmae.io.checkpoints.load import load_encoder
from napari_sdmae.notices import scale_notes
from napari_sdmae.worker.cache import MODEL_CACHE
from napari_sdmae.worker.protocol import (
    AttentionRequest,
    ContactSheetRequest,
    DevicesRequest,
    ErrorCode,
    ImportRequest,
    InspectRequest,
    ReconstructRequest,
    Request,
    WorkerError,
    handle,
)

RGB = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def forgetful() -> None:
    MODEL_CACHE.clear()


def settings(tissue: Path, **changes: Any) -> PretrainConfig:
    small = {"data": tissue / "tiles", "epochs": 1, "model": {"tile_size": 64}}
    return PretrainConfig.model_validate(small | changes)


def map_of(model: Path, image: RGB, **more: Any) -> AttentionResult:
    return handle(AttentionRequest(str(model), image, **more))


def test_devices_are_listed() -> None:
    told = handle(DevicesRequest())
    assert told.default in [device.device for device in told.devices]
    assert told.devices[0].memory is not None
    assert told.devices[0].memory > 2**28


def test_reconstruction_is_that_of_the_package(model_folder: Path, tissue_tile: RGB) -> None:
    field = tissue_tile[:90, :70]
    told = handle(ReconstructRequest(str(model_folder), field, mask_ratio=0.5, seed=4))
    direct = reconstruct(model_folder, field, mask_ratio=0.5, seed=4)
    for name in ("masked", "reconstruction", "error"):
        np.testing.assert_array_equal(getattr(told, name), getattr(direct, name))
    assert (told.mean_error, told.mask_ratio, told.seed) == (direct.mean_error, 0.5, 4)
    assert told.model.target_normalisation == "patch_channel"


def test_attention_is_that_of_the_package(model_folder: Path, tissue_tile: RGB) -> None:
    field = tissue_tile[:100, :70]
    told = map_of(model_folder, field, method="query", query=(20, 30), head="grid", block=1, mpp=0.25)
    direct = attention_maps(encode_field(load_encoder(model_folder), field), method="query", query=(20, 30), head="grid", block=1)
    np.testing.assert_array_equal(told.map.values, direct.values)
    assert ((told.map.grid.rows, told.map.grid.columns), told.cell, told.first) == ((7, 5), (16, 16), (7.5, 7.5))
    assert (told.map.query, told.query) == ((1, 1), (23.5, 23.5))
    assert told.statistics["entropy"] == list(direct.entropy)
    assert told.statistics["entropy_max"] == math.log(35)
    np.testing.assert_allclose(told.statistics["distance_um"], np.multiply(direct.distance_px, 0.25))
    assert told.warnings == (), "half of the 0.5 µm/px that the model was trained at is near enough"
    for mpp in (0.24, 0.8):
        assert map_of(model_folder, field, mpp=mpp).warnings == tuple(scale_notes(0.5, mpp, "choose a smaller region"))
    assert (told.model.name, told.blocks, told.heads) == ("small", 3, 3)


def test_every_method_has_a_map(model_folder: Path, tissue_tile: RGB) -> None:
    for method in ("received", "query", "rollout", "pca", "similarity"):
        told = map_of(model_folder, tissue_tile, method=method)
        assert told.map.values.shape[:2] == (told.map.grid.rows, told.map.grid.columns)
        assert (told.query is not None) == (method in ("query", "similarity"))
    own = map_of(model_folder, tissue_tile, method="pca")
    again = map_of(model_folder, tissue_tile[::-1], method="pca", colours=own.colours)
    np.testing.assert_array_equal(again.colours.pca.axes, own.colours.pca.axes)


def test_only_a_new_field_or_model_is_encoded(model_folder: Path, tissue_tile: RGB, tmp_path: Path) -> None:
    def cached(model: Path, image: RGB, **more: Any) -> bool:
        return map_of(model, image, **more).cached

    copy = shutil.copytree(model_folder, tmp_path / "copy")
    field, other = tissue_tile[:80, :80], tissue_tile[1:81, :80]
    assert not cached(copy, field)
    assert cached(copy, field.copy(), method="query", query=(3, 50))
    assert [cached(copy, other), cached(copy, field), cached(model_folder, field)] == [False, True, False]
    os.utime(copy / "model.safetensors", (time.time() + 5, time.time() + 5))
    assert not cached(copy, field)
    MODEL_CACHE.clear()
    assert not cached(model_folder, field)


def test_large_fields_are_reduced(model_folder: Path, tissue_tile: RGB) -> None:
    field = np.tile(tissue_tile, (5, 5, 1))[:1100, :1040]
    told = map_of(model_folder, field)
    assert (told.downsample, told.cell, told.map.grid.rows, told.map.grid.columns) == (2, (32, 32), 35, 33)


def test_inspection(tissue: Path) -> None:
    told = handle(InspectRequest(settings(tissue)))
    assert told.images == len(list(tissue.glob("tiles/*/*.jpg")))
    assert f"{told.images:,} images" in told.summary()


def test_contact_sheet(tissue: Path) -> None:
    config = settings(tissue, mask_ratio=0.75)
    told, again, other = (handle(ContactSheetRequest(config, 5, seed)) for seed in (None, None, 1))
    assert told.tiles.shape == told.masked.shape == (5, 64, 64, 3)
    assert (told.mask.sum((1, 2)) == 12).all()
    assert len(set(told.files)) == 5
    hidden = told.mask.repeat(16, 1).repeat(16, 2)
    np.testing.assert_array_equal(told.masked[~hidden], told.tiles[~hidden])
    assert (told.masked[hidden] == 128).all()
    np.testing.assert_array_equal(told.tiles, again.tiles)
    assert (told.tiles != other.tiles).any()
    assert 100 < told.tiles.mean() < 250


def test_contact_sheet_of_few_images_takes_several_tiles_of_each(tissue: Path) -> None:
    regions = settings(tissue, data=tissue / "regions", tiles={"tile_px": 128})
    told = handle(ContactSheetRequest(regions, 9))
    assert len(told.tiles) == 9
    assert 1 < len(set(told.files)) <= 5


PICTURE = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (AttentionRequest("nowhere", PICTURE), ErrorCode.INVALID, "no model at 'nowhere'"),
        (AttentionRequest("nowhere", PICTURE[..., :2]), ErrorCode.INVALID, "got an image of shape (64, 64, 2)"),
        (ContactSheetRequest(PretrainConfig(data="/nowhere")), ErrorCode.UNUSABLE_DATA, "no folder /nowhere"),
        (AttentionRequest(None, PICTURE), ErrorCode.UNEXPECTED, "TypeError: "),
    ],
)
def test_errors_are_one_line_with_a_code(request_: Request[Any], code: ErrorCode, message: str) -> None:
    with pytest.raises(WorkerError) as caught:
        handle(request_)
    assert caught.value.code is code
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.details.startswith("Traceback")


def test_a_device_that_is_not_there_is_no_reason_to_take_the_cpu(model_folder: Path, tissue_tile: RGB) -> None:
    there = {device.device for device in handle(DevicesRequest()).devices}
    missing = sorted({"cuda", "mps"} - there)[0]
    with pytest.raises(WorkerError, match=f"device {missing} is not usable here .*; choose cpu"):
        map_of(model_folder, tissue_tile, device=missing)


def test_colours_of_a_model_that_trained_on_are_not_kept(model_folder: Path, tissue_tile: RGB, tmp_path: Path) -> None:
    """The job replaces the model: the basis of its former weights would colour the new ones at random."""
    copy = shutil.copytree(model_folder, tmp_path / "model")
    own = map_of(copy, tissue_tile, method="pca")
    os.utime(copy / "model.safetensors", (1e9, time.time() + 10))
    fresh = map_of(copy, tissue_tile[::-1], method="pca")
    again = map_of(copy, tissue_tile[::-1], method="pca", colours=own.colours)
    np.testing.assert_array_equal(again.colours.pca.axes, fresh.colours.pca.axes)
    assert not np.array_equal(again.colours.pca.axes, own.colours.pca.axes)


@pytest.mark.parametrize(("fault", "device"), [(None, "mps"), ("failed", "cpu")])
def test_an_apple_gpu_is_told_of_when_it_passes_its_self_test(
    monkeypatch: pytest.MonkeyPatch, fault: str | None, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("napari_sdmae.devices.select.mps_fault", lambda: fault)
    told = handle(DevicesRequest())
    assert told.default == device
    assert ("mps" in [one.device for one in told.devices]) == (fault is None)


def test_what_a_reader_warns_of_comes_with_the_labels(tmp_path: Path) -> None:
    ring = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
    shapes = [{"type": "Polygon", "coordinates": [ring]}, {"type": "Point", "coordinates": [3, 4]}]
    features = [{"type": "Feature", "geometry": shape, "properties": {}} for shape in shapes]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    result = handle(ImportRequest(tmp_path / "a.geojson"))
    assert result.warnings == ("skipped 1 Point: it encloses no area",)
    assert (result.label_map.labels == 1).sum() == 81
