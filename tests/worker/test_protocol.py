"""Questions of the viewer and their answers."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.inference import attention_maps, encode_field, reconstruct
from napari_sdmae.io.checkpoints.load import load_encoder
from napari_sdmae.notices import scale_notes
from napari_sdmae.worker.protocol import KINDS, QueryError, answer

RGB = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def forgetful() -> None:
    answer({"kind": "release"})


def settings(tissue: Path, **changes: Any) -> dict[str, Any]:
    small = {"data": tissue / "tiles", "epochs": 1, "model": {"tile_size": 64}}
    return PretrainConfig.model_validate(small | changes).model_dump(mode="json")


def question(model: Path, image: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "attention", "model": str(model), "image": image, **more}


def test_importing_the_questions_loads_no_torch() -> None:
    code = (
        "import sys; import napari_sdmae.worker.protocol; "
        "print([name for name in ('torch', 'timm', 'qtpy', 'napari') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_info_is_plain(model_folder: Path) -> None:
    told = answer({"kind": "info", "model": str(model_folder)})
    assert (told["name"], told["tile_size"], told["patch_size"], told["depth"], told["heads"]) == ("small", 64, 16, 3, 3)
    assert (told["mpp"], told["target_normalisation"]) == (0.5, "patch_channel")
    assert (told["has_decoder"], told["class_token"]) == (True, False)
    assert json.loads(json.dumps(told)) == told


def test_devices_are_listed() -> None:
    told = answer({"kind": "devices"})
    assert told["default"] in [device["device"] for device in told["devices"]]
    assert told["devices"][0]["memory"] > 2**28


def test_reconstruction_is_that_of_the_package(model_folder: Path, tissue_tile: RGB) -> None:
    field = tissue_tile[:90, :70]
    told = answer({"kind": "reconstruct", "model": str(model_folder), "image": field, "mask_ratio": 0.5, "seed": 4})
    direct = reconstruct(model_folder, field, mask_ratio=0.5, seed=4)
    for name in ("masked", "reconstruction", "error", "mask"):
        np.testing.assert_array_equal(told[name], getattr(direct, name))
    assert told["target_normalisation"] == "patch_channel"
    assert "taken from the original" in told["note"]
    assert told["tiles"] == 4


def test_attention_is_that_of_the_package(model_folder: Path, tissue_tile: RGB) -> None:
    field = tissue_tile[:100, :70]
    told = answer(question(model_folder, field, method="query", query=(20, 30), head="grid", block=1, mpp=0.25))
    direct = attention_maps(encode_field(load_encoder(model_folder), field), method="query", query=(20, 30), head="grid", block=1)
    np.testing.assert_array_equal(told["values"], direct.values)
    assert (told["grid"], told["scale"], told["translate"]) == ((7, 5), (16, 16), (7.5, 7.5))
    assert (told["query_patch"], told["query"]) == ((1, 1), (23.5, 23.5))
    numbers = told["statistics"]
    assert numbers["entropy"] == list(direct.entropy)
    assert numbers["entropy_max"] == math.log(35)
    np.testing.assert_allclose(numbers["distance_um"], np.multiply(direct.distance_px, 0.25))
    assert told["warnings"] == []  # half of the 0.5 µm/px that the model was trained at is near enough
    finer = answer(question(model_folder, field, mpp=0.24))["warnings"]
    assert finer == scale_notes(0.5, 0.24)
    assert "trained at 0.5 µm/px and sees this picture at 0.24 µm/px, much finer" in finer[0]
    coarser = answer(question(model_folder, field, mpp=0.4, downsample=2))["warnings"]
    assert coarser == scale_notes(0.5, 0.8)


def test_every_method_answers_and_survives_the_way(model_folder: Path, tissue_tile: RGB) -> None:
    for method in ("received", "query", "rollout", "pca", "similarity"):
        told = pickle.loads(pickle.dumps(answer(question(model_folder, tissue_tile, method=method))))
        assert told["values"].shape[:2] == told["grid"]
        assert (told["query"] is not None) == (method in ("query", "similarity"))
    own = answer(question(model_folder, tissue_tile, method="pca"))
    again = answer(question(model_folder, tissue_tile[::-1], method="pca", pca_basis=own["pca_basis"]))
    np.testing.assert_array_equal(again["pca_basis"]["axes"], own["pca_basis"]["axes"])


def test_only_a_new_field_or_model_is_encoded(model_folder: Path, tissue_tile: RGB, tmp_path: Path) -> None:
    def cached(model: Path, image: RGB, **more: Any) -> bool:
        return bool(answer(question(model, image, **more))["cached"])

    copy = shutil.copytree(model_folder, tmp_path / "copy")
    field, other = tissue_tile[:80, :80], tissue_tile[1:81, :80]
    assert not cached(copy, field)
    assert cached(copy, field.copy(), method="query", query=(3, 50))
    assert [cached(copy, other), cached(copy, field), cached(model_folder, field)] == [False, True, False]
    os.utime(copy / "model.safetensors", (time.time() + 5, time.time() + 5))
    assert not cached(copy, field)
    assert answer({"kind": "release"})["released"]
    assert not cached(model_folder, field)


def test_fields_of_files_and_regions(model_folder: Path, tissue: Path, tissue_tile: RGB) -> None:
    path = str(sorted(tissue.glob("tiles/*/*.jpg"))[0])
    by_path = answer(question(model_folder, path, region=(10, 20, 64, 80)))
    by_pixels = answer(question(model_folder, tissue_tile[10:74, 20:100]))
    np.testing.assert_allclose(by_path["values"], by_pixels["values"], atol=1e-4)


def test_large_fields_are_reduced(model_folder: Path, tissue_tile: RGB) -> None:
    field = np.tile(tissue_tile, (5, 5, 1))[:1100, :1040]
    told = answer(question(model_folder, field))
    assert (told["downsample"], told["scale"], told["grid"]) == (2, (32, 32), (35, 33))
    with pytest.raises(QueryError, match="or downsample by 2"):
        answer(question(model_folder, field, downsample=1))


def test_inspection(tissue: Path) -> None:
    told = answer({"kind": "inspect", "settings": settings(tissue)})
    assert told["images"] == len(list(tissue.glob("tiles/*/*.jpg")))
    assert f"{told['images']:,} images" in told["summary"]


def test_contact_sheet(tissue: Path) -> None:
    ask = {"kind": "contact_sheet", "settings": settings(tissue, mask_ratio=0.75), "tiles": 5}
    told, again, other = answer(ask), answer(ask), answer(ask | {"seed": 1})
    assert told["tiles"].shape == told["masked"].shape == (5, 64, 64, 3)
    assert (told["mask"].sum((1, 2)) == 12).all()
    assert len(set(told["files"])) == 5
    hidden = told["mask"].repeat(16, 1).repeat(16, 2)
    np.testing.assert_array_equal(told["masked"][~hidden], told["tiles"][~hidden])
    assert (told["masked"][hidden] == 128).all()
    np.testing.assert_array_equal(told["tiles"], again["tiles"])
    assert (told["tiles"] != other["tiles"]).any()
    assert 100 < told["tiles"].mean() < 250


def test_contact_sheet_of_few_images_takes_several_tiles_of_each(tissue: Path) -> None:
    regions = settings(tissue, data=tissue / "regions", tiles={"tile_px": 128})
    told = answer({"kind": "contact_sheet", "settings": regions, "tiles": 9})
    assert len(told["tiles"]) == 9
    assert 1 < len(set(told["files"])) <= 5


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"kind": "fly"}, f"no question of kind 'fly'; there are: {', '.join(KINDS)}"),
        ({"kind": "info", "model": "nowhere"}, "no model at 'nowhere'"),
        ({"kind": "inspect", "settings": {"data": "x", "epochs": 0}}, "epochs: Input should be greater than or equal to 1"),
        ({"kind": "contact_sheet", "settings": {"data": "/nowhere"}}, "no folder /nowhere"),
        ({"kind": "info", "wrong": 1}, "TypeError: "),
    ],
)
def test_errors_are_one_line_and_survive_the_way(ask: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError) as caught:
        answer(ask)
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error).startswith(message)
    assert "\n" not in str(error)
    assert error.details.startswith("Traceback")


def test_a_device_that_is_not_there_is_no_reason_to_take_the_cpu(model_folder: Path, tissue_tile: RGB) -> None:
    there = {device["device"] for device in answer({"kind": "devices"})["devices"]}
    missing = sorted({"cuda", "mps"} - there)[0]
    with pytest.raises(QueryError, match=f"device {missing} is not usable here .*; choose cpu"):
        answer(question(model_folder, tissue_tile, device=missing))


def test_colours_of_a_model_that_trained_on_are_not_kept(model_folder: Path, tissue_tile: RGB, tmp_path: Path) -> None:
    """The job replaces the model: the basis of its former weights would colour the new ones at random."""
    copy = shutil.copytree(model_folder, tmp_path / "model")
    own = answer(question(copy, tissue_tile, method="pca"))
    os.utime(copy / "model.safetensors", (1e9, time.time() + 10))
    fresh = answer(question(copy, tissue_tile[::-1], method="pca"))
    again = answer(question(copy, tissue_tile[::-1], method="pca", pca_basis=own["pca_basis"]))
    np.testing.assert_array_equal(again["pca_basis"]["axes"], fresh["pca_basis"]["axes"])
    assert not np.array_equal(again["pca_basis"]["axes"], own["pca_basis"]["axes"])


@pytest.mark.parametrize(("fault", "device"), [(None, "mps"), ("failed", "cpu")])
def test_an_apple_gpu_is_told_of_when_it_passes_its_self_test(
    monkeypatch: pytest.MonkeyPatch, fault: str | None, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("napari_sdmae.devices.select.mps_fault", lambda: fault)
    told = answer({"kind": "devices"})
    assert told["default"] == device
    assert ("mps" in [one["device"] for one in told["devices"]]) == (fault is None)
