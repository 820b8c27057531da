"""Heads for other programs: what their own runtimes answer is what the head answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from reference_case import tissue_crops
from tiny_heads import tiny_head
from torchvision.transforms.v2 import functional as transforms

from napari_sdmae.cli import main
from napari_sdmae.inference.prediction.classification import tile_probabilities
from napari_sdmae.inference.prediction.result import PredictionOptions
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.models.heads.sliding_window import predict_windows

TILE = 64


def saved(folder: Path, task: str, classes: int = 3, temperature: float = 1.7, **changes: Any) -> tuple[HeadModel, Path]:
    """Save a tiny head that states a scale and a temperature."""
    model = tiny_head(task, classes, mpp=0.5, **changes)
    model.spec = model.spec.model_copy(update={"temperature": temperature})
    save_head(folder / "head", model)
    return model, folder / "head"


@pytest.fixture
def tiles(tissue: Path) -> np.ndarray:
    return tissue_crops(tissue, TILE, 5)


def probabilities(model: HeadModel, tiles: np.ndarray) -> np.ndarray:
    return tile_probabilities(model, tiles, PredictionOptions())


def test_wsinfer_gives_the_probabilities_of_the_head(tmp_path: Path, tiles: np.ndarray) -> None:
    """As WSInfer does it: TorchScript without our package's classes, its transforms, a softmax of its own."""
    model, head = saved(tmp_path, "classification")
    assert main(["export-head", str(head), str(tmp_path / "out"), "--to", "wsinfer"]) == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["spec_version"], config["num_classes"], config["spacing_um_px"]) == ("1.0", 3, 0.5)
    assert config["class_names"] == ["class 0", "class 1", "class 2"]
    assert config["patch_size_pixels"] == TILE
    steps = {step["name"]: step.get("arguments") for step in config["transform"]}
    assert list(steps) == ["Resize", "ToTensor", "Normalize"]
    images = torch.from_numpy(tiles).permute(0, 3, 1, 2)
    images = transforms.resize(images, [steps["Resize"]["size"]] * 2).float() / 255
    images = transforms.normalize(images, **steps["Normalize"])
    network = torch.jit.load(str(tmp_path / "out" / "torchscript_model.pt"))
    with torch.inference_mode():
        found = network(images).softmax(1).numpy()
    np.testing.assert_allclose(found, probabilities(model, tiles), atol=1e-5)


def test_onnx_classifies_any_number_of_tiles_as_the_head(tmp_path: Path, tiles: np.ndarray) -> None:
    model, head = saved(tmp_path, "classification")
    assert main(["export-head", str(head), str(tmp_path / "out"), "--to", "onnx"]) == 0
    for batch in (1, 5):
        (found,) = answers(tmp_path / "out", tiles[:batch])
        np.testing.assert_allclose(found, probabilities(model, tiles[:batch]), atol=1e-5)


@pytest.mark.parametrize(
    ("task", "classes", "decoder"),
    [
        *(("segmentation", 3, decoder) for decoder in ("linear", "unet", "upernet", "dpt")),
        ("instances", 1, "unet"),
        ("instances", 2, "unet"),
    ],
)
def test_onnx_draws_as_the_head(tmp_path: Path, tiles: np.ndarray, task: str, classes: int, decoder: str) -> None:
    model, head = saved(tmp_path, task, classes, head={"decoder": decoder})
    assert main(["export-head", str(head), str(tmp_path / "out"), "--to", "onnx"]) == 0
    found = answers(tmp_path / "out", tiles[:2])
    for place in range(2):
        wanted = predict_windows(model, tiles[place])
        assert len(found) == len(wanted)
        for one, (name, maps) in zip(found, wanted.items(), strict=True):
            np.testing.assert_allclose(np.squeeze(one[place]), np.squeeze(maps), atol=1e-4, err_msg=name)


def answers(folder: Path, tiles: np.ndarray) -> list[np.ndarray]:
    """Return what ONNX Runtime answers with an exported head."""
    onnx.checker.check_model(folder / "model.onnx")
    config = json.loads((folder / "head.json").read_text())
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == config["outputs"]
    assert (config["input"]["tile_size"], config["input"]["mpp"]) == (TILE, 0.5)
    pixels = tiles.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return session.run(None, {config["input"]["name"]: pixels})


@pytest.mark.parametrize(
    ("task", "to", "changes", "message"),
    [
        ("segmentation", "wsinfer", {}, "WSInfer classifies tiles and nothing else; for a segmentation head use --to onnx"),
        ("detection", "wsinfer", {}, "use sdmae predict"),
        ("detection", "onnx", {}, "boxes come out of steps that ONNX does not hold; use sdmae predict"),
        ("classification", "wsinfer", {"head": {"classifier": "knn"}}, "nearest neighbours vote without logits"),
    ],
)
def test_other_pairs_are_refused_with_what_to_use(
    tmp_path: Path, task: str, to: str, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, head = saved(tmp_path, task, **changes)
    assert main(["export-head", str(head), str(tmp_path / "out"), "--to", to]) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_python_that_cannot_write_torchscript_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, head = saved(tmp_path, "classification")
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    assert main(["export-head", str(head), str(tmp_path / "out"), "--to", "wsinfer"]) != 0
    assert "TorchScript, which Python 3.14 cannot write" in capsys.readouterr().err


def test_a_classifier_without_scale_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_head(tmp_path / "head", tiny_head("classification"))
    assert main(["export-head", str(tmp_path / "head"), str(tmp_path / "out"), "--to", "wsinfer"]) != 0
    assert "cuts tiles by their scale, and this head has none" in capsys.readouterr().err


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, head = saved(tmp_path, "classification")
    monkeypatch.setattr("napari_sdmae.io.other_programs.onnx.NEEDED", ("a_package_that_is_not_there",))
    assert main(["export-head", str(head), str(tmp_path / "out"), "--to", "onnx"]) != 0
    assert "needs a_package_that_is_not_there: pip install 'napari-sdmae[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, head = saved(tmp_path, "classification")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert main(["export-head", str(head), str(tmp_path / "out"), "--to", "wsinfer"]) != 0
    assert "out" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
