"""Prediction of files and in the worker, and what it refuses."""

from __future__ import annotations

import json
import pickle
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from seeing_heads import discs, head

from napari_sdmae.devices.precision import autocast, select_precision
from napari_sdmae.inference.prediction.predict import predict, predict_file
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.images.field import InvalidFieldError
from napari_sdmae.io.images.pictures import FilePicture, Part
from napari_sdmae.io.images.read import read_image
from napari_sdmae.io.labels.registry import import_labels
from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.worker.protocol import MeasureRequest, SegmentRequest, WorkerError, handle

RGB = NDArray[np.uint8]


def test_a_file_is_predicted_as_its_pixels(skin: RGB, tmp_path: Path) -> None:
    path = tmp_path / "skin.tif"
    scale = {"resolution": (1e4 / 0.25, 1e4 / 0.25), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, skin, photometric="rgb", tile=(64, 64), **scale)
    model = head("segmentation", 3)
    pixels = predict(model, skin, mpp=0.25, core=70)
    file = predict_file(model, path, core=70)
    np.testing.assert_array_equal(file.label_map.labels, pixels.label_map.labels)
    assert file.label_map.mpp == pytest.approx(0.25)
    assert file.label_map.source == str(path)
    part = predict_file(model, path, region=(50, 60, 128, 100), core=70)
    np.testing.assert_array_equal(
        part.label_map.labels, predict(model, skin, mpp=0.25, region=(50, 60, 128, 100), core=70).label_map.labels
    )


def test_a_file_is_held_in_bands_only(tmp_path: Path) -> None:
    path, random = tmp_path / "tall.tif", np.random.default_rng(0)
    pixels = random.integers(0, 256, (3000, 64, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64))
    picture = Part(FilePicture(path, 0.5), (100, 8, 2800, 40))
    held = []
    for row in range(0, 2700, 50):
        np.testing.assert_array_equal(picture.read(row, 3, 100, 30), pixels[100 + row : 200 + row, 11:41])
        held.append(sum(map(len, picture.whole._held)))  # type: ignore[attr-defined]
    assert max(held) <= 3 * 256
    with pytest.raises(ValueError, match="from top to bottom"):
        picture.read(0, 0, 10, 10)


def test_what_cannot_be_predicted_says_why() -> None:
    model = head("segmentation", 2)
    with pytest.raises(InvalidFieldError, match="less than one patch of 16 px"):
        predict(model, np.zeros((20, 300, 3), np.uint8), mpp=0.2)
    with pytest.raises(InvalidFieldError, match="not inside the image"):
        predict(model, np.zeros((100, 100, 3), np.uint8), mpp=0.5, region=(50, 50, 60, 60))
    with pytest.raises(ValueError, match="step 0"):
        predict(model, np.zeros((100, 100, 3), np.uint8), mpp=0.5, step=0)


def test_the_worker_segments_as_predict_does(tmp_path: Path, skin: RGB, monkeypatch: pytest.MonkeyPatch) -> None:
    save_head(tmp_path / "head", head("segmentation", 3))
    request = SegmentRequest(str(tmp_path / "head"), skin[:100, :120], mpp=0.5, device="cpu", precision="fp32")
    found = pickle.loads(pickle.dumps(handle(replace(request, probabilities=True))))
    expected = predict(head("segmentation", 3), skin[:100, :120], mpp=0.5, probabilities=True)
    np.testing.assert_array_equal(found.label_map.labels, expected.label_map.labels)
    assert found.label_map.classes == expected.label_map.classes
    assert set(found.label_map.measurements) >= {"label", "area (µm²)", "haematoxylin OD", "probability"}
    assert expected.probabilities is not None
    np.testing.assert_allclose(found.probabilities / 255, expected.probabilities.astype(float), atol=3e-3)
    assert found.channels == ("kind 0", "kind 1", "kind 2")
    assert (found.head.task, found.head_name, found.head.metrics) == ("segmentation", "head", {})
    monkeypatch.setattr("napari_sdmae.worker.cache.load_head", lambda *_: pytest.fail("the head was in memory"))
    assert handle(request).label_map.classes == found.label_map.classes


def test_the_worker_measures_labels_corrected_by_hand() -> None:
    picture, truth = discs(120, [(40, 40, 12), (80, 80, 10)])
    labels = LabelMap(truth, make_classes(["nucleus"], 1), instances=True, class_of={1: 1, 2: 1}, mpp=0.5, origin=(30.0, 50.0))
    table = handle(MeasureRequest(labels, picture)).measurements
    np.testing.assert_allclose(table["area (µm²)"], [(truth == 1).sum() * 0.25, (truth == 2).sum() * 0.25])
    assert "haematoxylin OD" in table
    assert "haematoxylin OD" not in handle(MeasureRequest(labels)).measurements


def test_the_worker_says_what_is_no_head(skin: RGB, model_folder: Path) -> None:
    with pytest.raises(WorkerError, match="without a head"):
        handle(SegmentRequest(str(model_folder), skin))


def test_bf16_is_taken_where_a_probe_shows_that_it_pays(monkeypatch: pytest.MonkeyPatch, skin: RGB) -> None:
    cpu = torch.device("cpu")
    for factor, chosen in ((2.0, "bf16"), (1.1, "fp32")):
        monkeypatch.setattr("napari_sdmae.devices.precision.answering_gain", lambda kind, factor=factor: factor)
        assert select_precision("auto", cpu, training=False).precision == chosen
    assert select_precision("bf16", cpu, training=False).precision == "bf16"
    monkeypatch.setattr("napari_sdmae.devices.precision.works_in_bf16", lambda device: False)
    assert select_precision("auto", cpu, training=False).precision == "fp32"
    with pytest.raises(ValueError, match="bf16 does not work on cpu"):
        select_precision("bf16", cpu, training=False)
    exact, coarse = (
        predict(head("segmentation", 3), skin, mpp=0.5, probabilities=True, autocast=autocast(cpu, precision)).probabilities
        for precision in ("fp32", "bf16")
    )
    assert exact is not None
    assert coarse is not None
    assert 0 < np.abs(exact.astype(float) - coarse.astype(float)).max() < 0.03


def test_the_example_exports_what_qupath_reads(tmp_path: Path, tissue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = head("segmentation", 3)
    save_head(tmp_path / "head", model)
    image = sorted(tissue.glob("tiles/colon/*.jpg"))[0]
    monkeypatch.setattr(sys, "argv", ["predict_and_export.py", str(tmp_path / "head"), str(image), "0.5", str(tmp_path / "out")])
    runpy.run_path(str(Path(__file__).parents[3] / "examples" / "predict_and_export.py"), run_name="__main__")
    expected = predict(model, read_image(image), mpp=0.5).label_map
    np.testing.assert_array_equal(import_labels(tmp_path / "out" / "labels.ome.tif").labels, expected.labels)
    features = json.loads((tmp_path / "out" / "labels.geojson").read_text())["features"]
    assert {feature["properties"]["classification"]["name"] for feature in features} == {
        expected.class_named(value).name for value in np.unique(expected.labels) if value
    }
    assert (tmp_path / "out" / "measurements.csv").exists()
